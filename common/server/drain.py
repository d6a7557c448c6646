"""The gentle end of a server: first it says so, then nobody is let in, and nobody who was is lost.

Closing a listening socket resets what the kernel has connected and the program has not accepted
yet, and between the last accept and the close there may always come another: see `turn_away`.
"""

import ctypes
import os
import signal
import socket
import struct
import threading
import time
from typing import Any

from waitress import wasyncore
from waitress.task import WSGITask

from common.server.in_flight import InFlight

LINGER_S = 0.25
"""For the next request on connections that are in use: it is answered, and is the last."""
DRAIN_S = 10.0
"""How long requests that are under way may take once nobody is let in."""
HANDSHAKE_S = 0.05
"""For connections that were being made when no new ones were let in any more."""

SO_ATTACH_FILTER = getattr(socket, "SO_ATTACH_FILTER", 26)
"""Linux's; Python has no name for it before 3.14."""
TCP_FLAGS, ACK = 13, 0x10
"""Where a segment has its flags, and the one that only the very first does not have."""
FILTER = (
    (0x30, 0, 0, TCP_FLAGS),  # load that byte
    (0x45, 0, 1, ACK),  # without the flag skip one
    (0x06, 0, 0, 0xFFFFFFFF),  # take all of the segment
    (0x06, 0, 0, 0),  # drop it
)


class LastTask(WSGITask):  # type: ignore[misc]
    """An answer of waitress that tells the client that the connection ends with it."""

    def build_response_header(self) -> bytes:
        """The head of the reply."""
        self.set_close_on_finish()
        head: bytes = super().build_response_header()
        return head


def turn_away(listener: socket.socket) -> None:
    """Have the kernel ignore new connections, while those it has, or half has, can be accepted.

    Who tries meanwhile tries again within a second, by TCP, and finds the next process, or none.
    Where there are no such filters nothing happens.
    """
    steps = b"".join(struct.pack("HBBI", *step) for step in FILTER)
    program = ctypes.create_string_buffer(steps)
    try:
        listener.setsockopt(
            socket.SOL_SOCKET,
            SO_ATTACH_FILTER,
            struct.pack("HL", len(FILTER), ctypes.addressof(program)),
        )
    except OSError:
        return


def start_drain(in_flight: InFlight, server: Any, wait_s: float) -> None:
    """Begin the end of a waitress server, that its main thread is interrupted at.

    At a second SIGTERM it is not waited for.
    """
    if any(thread.name == "drain" for thread in threading.enumerate()):
        os._exit(128 + signal.SIGTERM)
    how = (in_flight, server, wait_s)
    threading.Thread(target=_drain, args=how, name="drain", daemon=True).start()


def _drain(in_flight: InFlight, server: Any, wait_s: float) -> None:
    """Say not to be ready, wait until that is known, let nobody in, and finish."""
    in_flight.draining.set()
    time.sleep(wait_s)
    turn_away(server.socket)
    time.sleep(HANDSHAKE_S)
    server.channel_class.task_class = LastTask
    server.trigger.pull_trigger(lambda: _stop_listening(server))  # in the thread that accepts
    time.sleep(LINGER_S)
    until = time.monotonic() + DRAIN_S
    while _is_busy(server) and time.monotonic() < until:
        time.sleep(0.02)
    os.kill(os.getpid(), signal.SIGINT)


def _stop_listening(server: Any) -> None:
    """Accept the connections that the kernel has made, and close the listening socket."""
    before = -1
    while len(server.active_channels) != before:
        before = len(server.active_channels)
        server.handle_accept()
    wasyncore.dispatcher.close(server)


def _is_busy(server: Any) -> bool:
    """Whether a connection has a request, or a part of one, or of a reply."""
    channels = list(server.active_channels.values())
    return any(one.requests or one.request or one.total_outbufs_len for one in channels)
