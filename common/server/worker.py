"""gunicorn, made to refuse what is too much at once and to lose nothing when it is stopped.

gunicorn's own worker of threads queues any number of requests, out of sight of the application,
and its arbiter takes new connections away from a load balancer before that can know.
"""

import logging
import selectors
import signal
import socket
import ssl
import time
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import Any

import msgspec
from gunicorn import util
from gunicorn.arbiter import Arbiter
from gunicorn.glogging import Logger
from gunicorn.workers.gthread import TConn, ThreadWorker

from common.errors import Overloaded, Problem
from common.metrics import DROPPED, REQUESTS
from common.server.drain import HANDSHAKE_S, turn_away
from common.server.in_flight import ARRIVED, InFlight
from common.server.service import ABOUT_ITSELF

ASIDE_THREADS = 16
"""They answer in a tenth of a millisecond; a few, as some may be held up by slow clients."""
LINGER_S = 0.5
"""How long a client may take to close a connection that we have said to be closed, and at the end
to ask once more on one that it has kept."""


def refusal() -> bytes:
    """The whole reply to a request that is too much, but for what becomes of the connection."""
    problem = Problem.of(Overloaded("too many requests at once: try again in a second"))
    body = msgspec.json.encode(problem)
    head = (
        "HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/problem+json\r\n"
        f"Content-Length: {len(body)}\r\nRetry-After: 1\r\nX-Content-Type-Options: nosniff\r\n"
        "Referrer-Policy: same-origin\r\nContent-Security-Policy: default-src 'none'\r\n"
        "Connection: %b\r\n\r\n"
    )
    return head.encode() + body


REFUSAL = refusal()
STARTS = tuple(f"GET {path} ".encode() for path in ABOUT_ITSELF)
PEEK_BYTES = max(map(len, STARTS))


class Worker(ThreadWorker):  # type: ignore[misc]
    """A process of front or middle.

    What it can take is counted where connections become readable, by the one thread that watches
    them all, so the count needs no lock, and what is over the limit waits for no thread of those
    that work.
    """

    def init_process(self) -> None:
        """As gunicorn's, after the fork."""
        self.limit = self.app.serving.max_in_flight
        self.in_flight = InFlight()
        self.aside = ThreadPoolExecutor(ASIDE_THREADS, thread_name_prefix="aside")
        super().init_process()

    def load_wsgi(self) -> None:
        """Make the application."""
        super().load_wsgi()
        self.in_flight = self.wsgi.extensions.get("in_flight", self.in_flight)

    def init_signals(self) -> None:
        """SIGUSR2 is how the arbiter says that the end has begun."""
        super().init_signals()
        signal.signal(signal.SIGUSR2, lambda *_: self.in_flight.draining.set())

    def enqueue_req(self, conn: TConn) -> None:
        """Hand a connection to a thread, once there is something to read."""
        if not conn.initialized and not conn.data_ready:
            self._await_request(conn)
            return
        conn.since = time.monotonic()
        conn.is_closed = conn.is_excused = False
        conn.is_aside = self._is_aside(conn)
        self.in_flight.admitted += not conn.is_aside
        pool = self.aside if conn.is_aside else self.tpool
        future: Future[bool] = pool.submit(self.handle, conn)
        done = partial(self.method_queue.defer, self.finish_request, conn)
        future.add_done_callback(done)

    def _is_aside(self, conn: TConn) -> bool:
        """Whether a request is one too many, or should not wait behind all others."""
        admitted = self.in_flight.admitted
        if admitted >= self.limit:
            return True
        # not asked for each: a system call lets go of the interpreter, which others wait for
        return bool(admitted >= self.cfg.threads and _is_about_us(conn.sock))

    def _await_request(self, conn: TConn) -> None:
        """Watch a new connection, without a thread that waits for it."""
        conn.sock.setblocking(False)
        conn.set_timeout()
        self.pending_conns.append(conn)
        ready = partial(self.on_pending_socket_readable, conn)
        self.poller.register(conn.sock, selectors.EVENT_READ, ready)

    def finish_request(self, conn: TConn, future: Future[bool]) -> None:
        """Watch the connection again, or forget it."""
        self.in_flight.admitted -= not conn.is_aside
        if conn.is_excused:
            self.in_flight.excuse(-1)
        if conn.is_closed:
            self.nr_conns -= 1
        else:
            super().finish_request(conn, future)

    def handle(self, conn: TConn) -> bool:
        """Answer a request; whether another may follow on its connection."""
        ARRIVED.set(conn.since)
        is_kept = bool(super().handle(conn))
        if not is_kept:  # here: gunicorn would have all others wait until the client closes, too
            util.close_graceful(conn.sock, LINGER_S)
            conn.is_closed = True
        return is_kept

    def handle_request(self, req: Any, conn: TConn) -> bool:
        """Answer a request whose head has been read; one too many without the application."""
        if req.path in ABOUT_ITSELF and not conn.is_aside:
            conn.is_excused = True
            self.in_flight.excuse(1)
        if not conn.is_aside or req.path in ABOUT_ITSELF:
            return bool(super().handle_request(req, conn))
        name = self.wsgi.name
        DROPPED.labels(name, "overloaded").inc()
        REQUESTS.labels(name, "unknown", 503).inc()
        is_kept = bool(self.alive and not req.should_close() and _is_whole(req, conn))
        conn.sock.sendall(REFUSAL % (b"keep-alive" if is_kept else b"close"))
        return is_kept

    def set_accept_enabled(self, enabled: bool) -> None:
        """Take new connections or no more; at the end those that the kernel has made by then."""
        if not self.alive:
            before = -1
            while self.nr_conns != before:
                before = self.nr_conns
                for listener in self.sockets:
                    self.accept(listener)
        super().set_accept_enabled(enabled)
        if not self.alive:
            for listener in self.sockets:
                listener.close()

    def _cap_keepalive(self, deadline: float) -> None:
        """Close connections on which nothing comes by then, those that never asked too."""
        deadline = min(deadline, time.monotonic() + LINGER_S)
        super()._cap_keepalive(deadline)
        for conn in self.pending_conns:
            conn.timeout = min(conn.timeout, deadline)


def _is_about_us(connection: socket.socket) -> bool:
    """Whether a request asks for what is answered however much there is to do."""
    if isinstance(connection, ssl.SSLSocket):
        return False
    try:
        start = connection.recv(PEEK_BYTES, socket.MSG_PEEK | socket.MSG_DONTWAIT)
    except OSError:
        return False
    return start.startswith(STARTS)


def _is_whole(req: Any, conn: TConn) -> bool:
    """Whether all of a request has been read, so that the next can be told from it."""
    headers = dict(req.headers)
    if "TRANSFER-ENCODING" in headers or "EXPECT" in headers:
        return False
    length = int(headers.get("CONTENT-LENGTH", 0))
    return bool(length <= conn.parser.unreader.buf.getbuffer().nbytes)


class DrainingArbiter(Arbiter):  # type: ignore[misc]
    """The parent of the workers; a first SIGTERM ends it gently, a second at once."""

    is_ending = is_hurried = False

    def signal(self, sig: int, frame: Any) -> None:
        """Queue a signal for the main loop."""
        if self.is_ending and sig in (signal.SIGTERM, signal.SIGINT):
            self.is_hurried = True
            sig = signal.SIGQUIT
        self.is_ending = self.is_ending or sig == signal.SIGTERM
        super().signal(sig, frame)

    def handle_term(self) -> None:
        """Say not to be ready, wait until that is known, let nobody in, and finish."""
        self.kill_workers(signal.SIGUSR2)
        until = time.monotonic() + self.app.serving.process.drain_wait_s
        while time.monotonic() < until and not self.is_hurried:
            time.sleep(0.05)
        for listener in self.LISTENERS:
            turn_away(listener.sock)
        time.sleep(HANDSHAKE_S)
        super().handle_term()


class Log(Logger):  # type: ignore[misc]
    """gunicorn's log, among ours and as ours."""

    def setup(self, cfg: Any) -> None:
        """Leave the format to whoever set up logging."""
        super().setup(cfg)
        self.error_log.handlers.clear()
        self.error_log.propagate = True
        self.error_log.setLevel(logging.WARNING)

    def exception(self, msg: str, *args: Any, **how: Any) -> None:
        """An error that nobody foresaw, without the address, which may hold what users look for."""
        super().exception(msg.partition(" %")[0], **how)

    def warning(self, msg: str, *args: Any, **how: Any) -> None:
        """Of a request that is no HTTP, only who sent it; of a handshake also why it failed."""
        what, _, why = msg.partition(": ")
        is_clients = what.startswith("Invalid request") and not why.startswith("[SSL: ")
        told = what if is_clients else msg
        super().warning(told, *args, **how)
