"""A TCP proxy with the faults of networks: it delays, cuts, silences, slows, changes data."""

import random
import socket
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

CHUNK = 2**16
AT_ONCE_S = 0.005
"""Data that comes within this time belongs to the data before it, and gets no latency again."""
RESET = struct.pack("ii", 1, 0)
"""SO_LINGER with no time: closing the socket sends RST."""


@dataclass(frozen=True)
class Fault:
    """The faults of a connection. Numbers of bytes count bytes of replies."""

    latency_s: float = 0.0
    jitter_s: float = 0.0
    black_hole: bool = False
    """All data is taken and none is passed on."""
    refuse: bool = False
    """A new connection is reset at once."""
    reset_after: int | None = None
    """RST after so many bytes."""
    close_after: int | None = None
    """The connection is closed after so many bytes: half a reply."""
    bytes_per_s: float | None = None
    flip_every: int | None = None
    """One bit is flipped in about so many bytes, of requests too."""


GOOD = Fault()


class Proxy:
    """Passes data between connections to `address` and `target`, with the faults of `fault`."""

    def __init__(self, listener: socket.socket, target: str) -> None:
        self.fault = GOOD
        """May be set at any time; a new fault counts its bytes from 0."""
        self.passed_bytes = 0
        self.target = target
        self.address = f"127.0.0.1:{listener.getsockname()[1]}"
        self._listener = listener
        self._open: set[socket.socket] = set()
        self._closed = False

    def accept(self) -> None:
        """Take connections until the listener is closed."""
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._join, args=(client,), daemon=True).start()

    def close(self) -> None:
        """Take no more connections, and cut the open ones."""
        self._closed = True
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for connection in list(self._open):
            _cut(connection)

    def _join(self, client: socket.socket) -> None:
        with client:
            if self.fault.refuse:
                reset(client)
                return
            host, _, port = self.target.rpartition(":")
            try:
                server = socket.create_connection((host, int(port)))
            except OSError:
                reset(client)
                return
            with server:
                self._connect(client, server)

    def _connect(self, client: socket.socket, server: socket.socket) -> None:
        both = {client, server}
        for connection in both:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._open |= both
        if self._closed:  # `close` ran before this connection was noted as open
            for connection in both:
                _cut(connection)
        threads = [
            threading.Thread(target=self._pass_on, args=way, daemon=True)
            for way in ((client, server, False), (server, client, True))
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self._open -= both

    def _pass_on(self, source: socket.socket, sink: socket.socket, is_reply: bool) -> None:
        fault, passed = self.fault, 0
        with suppress(OSError):
            while True:
                asked = time.monotonic()
                if not (data := source.recv(CHUNK)):
                    break
                is_first = passed == 0 or time.monotonic() - asked > AT_ONCE_S
                if fault is not self.fault:
                    fault, passed = self.fault, 0
                if is_reply and is_first:
                    time.sleep(max(0.0, random.gauss(fault.latency_s, fault.jitter_s)))
                if not (data := _spoilt(data, fault, passed, is_reply)):
                    reset(sink) if fault.reset_after is not None else None
                    break
                if not fault.black_hole:
                    sink.sendall(data)
                passed += len(data)
                self.passed_bytes += len(data)
        _cut(source)
        _cut(sink)


@contextmanager
def proxied(target: str) -> Iterator[Proxy]:
    """Run a proxy in front of the server at `target`."""
    proxy = Proxy(socket.create_server(("127.0.0.1", 0), backlog=1024), target)
    thread = threading.Thread(target=proxy.accept, daemon=True)
    thread.start()
    try:
        yield proxy
    finally:
        proxy.close()
        thread.join()


def _cut(connection: socket.socket) -> None:
    with suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)


def reset(connection: socket.socket) -> None:
    """End a connection by RST, as a dying process does."""
    with suppress(OSError):
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        # wakes the thread in `recv`, for which the kernel keeps the connection open
        connection.shutdown(socket.SHUT_RD)
    connection.close()


def _spoilt(data: bytes, fault: Fault, passed: int, is_reply: bool) -> bytes:
    """Wait as the fault says; returns the data to pass on, b"" if the connection must end."""
    if is_reply:
        if fault.bytes_per_s:
            time.sleep(len(data) / fault.bytes_per_s)
        ends = [end for end in (fault.reset_after, fault.close_after) if end is not None]
        if ends:
            data = data[: max(0, min(ends) - passed)]
    if fault.flip_every and random.random() < len(data) / fault.flip_every:
        spoilt = bytearray(data)
        spoilt[random.randrange(len(data))] ^= 1 << random.randrange(8)
        data = bytes(spoilt)
    return data
