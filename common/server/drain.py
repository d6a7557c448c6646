"""The drain: a server says that it stops, takes no new connections, and loses no request.

Closing a listening socket resets what the kernel has connected and the program has not accepted
yet. Between the last accept and the close there may always come another: see `turn_away`.
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
"""How long requests that are under way may take once nobody is let in."""
HANDSHAKE_S = 0.05
"""For connections that were being made when no new ones were let in any more."""
POLL_S = 0.01

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
TCPI_UNACKED = 24
"""Where Linux's tcp_info has, for a listening socket, the connections that nobody accepted yet."""


class Draining:
    """The mark of a server that was told to stop; its worker processes share it."""

    def __init__(self) -> None:
        """Make it before the fork."""
        self._memory = mmap.mmap(-1, 1)

    def begin(self) -> None:
        """From now on the server is on its way out."""
        self._memory[0] = 1

    def has_begun(self) -> bool:
        """Whether it is."""
        return bool(self._memory[0])


def drain_at_sigterm(
    draining: Draining,
    wait_s: float,
    listener: socket.socket | None,
    end: Callable[[], None] | None = None,
) -> None:
    """Have SIGTERM begin the end of this process.

    The server says that it drains and serves on for `wait_s`. Then the kernel ignores new
    connections to `listener`, and `end` ends the server, or what SIGTERM would have done before
    this call. A second SIGTERM ends the wait.
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
        if os.getpid() != owner:  # a worker that has no handler of its own yet
            os._exit(128 + signal.SIGTERM)
        if draining.has_begun():
            is_hurried.set()
            return
        draining.begin()
        threading.Thread(target=drain, name="drain", daemon=True).start()

    signal.signal(signal.SIGTERM, begin)


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


def _wait_until_accepted(listener: socket.socket) -> None:
    """Wait for connections that are being made, and until the server has accepted all of them."""
    time.sleep(HANDSHAKE_S)
    until = time.monotonic() + DRAIN_S
    while _unaccepted(listener) and time.monotonic() < until:
        time.sleep(POLL_S)


def _unaccepted(listener: socket.socket) -> int:
    """The connections that the kernel has made and nobody accepted; 0 where it does not tell."""
    try:
        told = listener.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, TCPI_UNACKED + 4)
        (count,) = struct.unpack_from("I", told, TCPI_UNACKED)
    except (AttributeError, OSError, struct.error):
        return 0
    return int(count)
