"""Free ports, for a test that must know the port before it starts a program."""

import atexit
import functools
import itertools
import socket
from collections.abc import Iterator

# Below the ports that the system gives to clients and to port 0 (Linux: from 32768 on): no other
# program gets a port between its choice and its use.
BLOCKS = range(10_240, 32_768, 512)


def free_ports(count: int) -> list[int]:
    """Ports without a listener; no other process gets the same ports from this function."""
    free = filter(is_free, _ours())
    return list(itertools.islice(free, count))


@functools.cache
def _ours() -> Iterator[int]:
    """The ports of a block, in an endless cycle. This process owns the block until it ends."""
    for first in BLOCKS:
        try:
            # The process that listens on the first port of a block owns the block.
            claim = socket.create_server(("127.0.0.1", first))
        except OSError:
            continue
        atexit.register(claim.close)
        return itertools.cycle(range(first + 1, first + BLOCKS.step))
    raise RuntimeError(f"all {len(BLOCKS)} blocks of ports are taken")


def is_free(port: int) -> bool:
    """Whether nothing listens on a port of 127.0.0.1."""
    try:
        socket.create_server(("127.0.0.1", port)).close()
    except OSError:
        return False
    return True
