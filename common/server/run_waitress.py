"""Serving with waitress: one process with threads."""

import os
import signal
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import waitress
from flask import Flask

from common.server.drain import DRAIN_S, POLL_S, Draining, drain_at_sigterm
from common.server.serve import MAX_HEADER_BYTES, Serving, announce, begin, bind

IDLE_S = 0.25
"""A draining server ends after this time without a request on any connection."""


def serve(create: Callable[[], Flask], serving: Serving) -> None:
    """Serve what `create` makes until SIGTERM or SIGINT; returns when drained."""
    with bind(serving) as listener:
        app = create()
        draining = Draining()
        begin(app, serving, draining)
        server = waitress.create_server(
            app,
            sockets=[listener],  # it listens from now on
            threads=serving.threads,
            max_request_body_size=serving.max_body_bytes,
            max_request_header_size=MAX_HEADER_BYTES,
            connection_limit=serving.connections,
            asyncore_use_poll=True,  # select() ends the server at the descriptor 1024
            channel_request_lookahead=1,  # else a disconnect is not noticed
            ident=None,
            clear_untrusted_proxy_headers=True,
        )
        end = partial(_end, app.extensions["admission"])
        drain_at_sigterm(draining, serving.process.drain_wait_s, listener, end)
        # A shell may start a command with & and SIGINT ignored; `_end` sends SIGINT.
        signal.signal(signal.SIGINT, signal.default_int_handler)
        announce(listener.getsockname()[1])
        with app.extensions["closing"]:
            server.run()  # returns on the KeyboardInterrupt that ends the drain


def _end(admission: Any) -> None:
    """End the server after IDLE_S without a request, at the latest after DRAIN_S."""
    now = time.monotonic()
    idle_since, deadline = now, now + DRAIN_S
    while now < deadline and now - max(idle_since, admission.last_end) < IDLE_S:
        time.sleep(POLL_S)
        now = time.monotonic()
        if admission.count():
            idle_since = now
    os.kill(os.getpid(), signal.SIGINT)
