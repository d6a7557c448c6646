"""The drain: a server announces its end, takes no new connections, and loses no request.

When a listening socket is closed, the kernel resets the connections that were not accepted yet.
A connection may arrive between the last accept and the close; `turn_away` prevents this.
"""

import ctypes
import mmap
import os
import signal
import socket
import struct
import threading
import time
from collections.abc import Callable

DRAIN_S = 10.0
"""The time for requests under way, after the server takes no new connections."""
LONGEST_END_S = 2 * DRAIN_S
"""The longest end after `drain_wait_s`: the server may take DRAIN_S to accept the connections that
wait, and DRAIN_S to answer their requests."""
HANDSHAKE_S = 0.05
"""The time for handshakes under way, after the kernel ignores new connections."""
POLL_S = 0.01

SO_ATTACH_FILTER = getattr(socket, "SO_ATTACH_FILTER", 26)
"""The value in Linux; Python names it since 3.14."""
TCP_FLAGS, ACK = 13, 0x10
"""The offset of the flags in a TCP segment; the flag that only a first segment lacks."""
FILTER = (
    (0x30, 0, 0, TCP_FLAGS),  # load the byte of flags
    (0x45, 0, 1, ACK),  # if ACK is not set, skip one step
    (0x06, 0, 0, 0xFFFFFFFF),  # accept the whole segment
    (0x06, 0, 0, 0),  # drop the segment
)
TCPI_UNACKED = 24
"""The offset in Linux's tcp_info; for a listening socket, the connections not yet accepted."""


class Draining:
    """The mark that a server is draining; its worker processes share the mark."""

    def __init__(self) -> None:
        """Create the mark before the fork."""
        self._memory = mmap.mmap(-1, 1)

    def begin(self) -> None:
        """Mark the server as draining."""
        self._memory[0] = 1

    def has_begun(self) -> bool:
        """Whether the server is draining."""
        return bool(self._memory[0])


def drain_at_sigterm(
    draining: Draining,
    wait_s: float,
    listener: socket.socket | None,
    end: Callable[[], None] | None = None,
) -> None:
    """Have SIGTERM drain and then end this process.

    The server announces the drain and serves for another `wait_s`. Then the kernel ignores new
    connections to `listener`, and `end` ends the server. Without `end`, the former handler of
    SIGTERM does so. A second SIGTERM ends the wait.
    """
    owner, is_hurried = os.getpid(), threading.Event()
    before = signal.getsignal(signal.SIGTERM)

    def drain() -> None:
        is_hurried.wait(wait_s)
        if listener:
            turn_away(listener)
            _wait_until_accepted(listener)
        if end:
            end()
        elif callable(before):
            before(signal.SIGTERM, None)

    def begin(*_: object) -> None:
        if os.getpid() != owner:  # a worker before it sets its own handler
            os._exit(128 + signal.SIGTERM)
        if draining.has_begun():
            is_hurried.set()
            return
        draining.begin()
        threading.Thread(target=drain, name="drain", daemon=True).start()

    signal.signal(signal.SIGTERM, begin)


def turn_away(listener: socket.socket) -> None:
    """Have the kernel ignore new connections. Connections made or in a handshake can be accepted.

    TCP repeats an ignored attempt within a second, and may then reach the next process. Without
    socket filters, as outside Linux, nothing happens.
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


def _wait_until_accepted(listener: socket.socket) -> None:
    """Wait for handshakes under way, then until the server has accepted all connections."""
    time.sleep(HANDSHAKE_S)
    deadline = time.monotonic() + DRAIN_S
    while _unaccepted(listener) and time.monotonic() < deadline:
        time.sleep(POLL_S)


def _unaccepted(listener: socket.socket) -> int:
    """The connections not yet accepted; 0 where the kernel does not tell."""
    try:
        told = listener.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, TCPI_UNACKED + 4)
        (count,) = struct.unpack_from("I", told, TCPI_UNACKED)
    except (AttributeError, OSError, struct.error):
        return 0
    return int(count)
