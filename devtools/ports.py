"""Ports for the programs that a test starts at a port that it must know before."""

import atexit
import functools
import itertools
import socket
from collections.abc import Iterator

# Below those that the system gives to clients and to port 0 (Linux: from 32768 on), so that between
# the choice of a port and its use nothing else can come to have it.
BLOCKS = range(10_240, 32_768, 512)


def free_ports(count: int) -> list[int]:
    """Ports that nothing listens on, and that no other process which asks here is given."""
    free = filter(_is_free, _ours())
    return list(itertools.islice(free, count))


@functools.cache
def _ours() -> Iterator[int]:
    """The ports of a block that is this process's until it ends, over and over."""
    for first in BLOCKS:
        try:
            # Whoever listens on the first port of a block has the block.
            claim = socket.create_server(("127.0.0.1", first))
        except OSError:
            continue
        atexit.register(claim.close)
        return itertools.cycle(range(first + 1, first + BLOCKS.step))
    raise RuntimeError(f"all {len(BLOCKS)} blocks of ports are taken")


def _is_free(port: int) -> bool:
    try:
        socket.create_server(("127.0.0.1", port)).close()
    except OSError:
        return False
    return True
