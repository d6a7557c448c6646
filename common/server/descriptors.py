"""The descriptors of a server process: how many connections and threads its limit bears."""

import resource

FIXED = 128
"""Files, sockets and pipes of the process itself: 20 to 50 are usual."""
OF_A_THREAD = 2
"""Beside the connection of its request: a selector or a file, and a connection to a server behind.
A thread then has three at most."""


def needed(connections: int, threads: int) -> int:
    """The descriptors for so many connections and threads."""
    return FIXED + connections + OF_A_THREAD * threads


def share(limit: int, connections: int, threads: int) -> tuple[int, int]:
    """The connections and threads that a limit bears: at most those given, and half for each."""
    threads = min(threads, (limit - FIXED) // (2 * OF_A_THREAD))
    return min(connections, limit - FIXED - OF_A_THREAD * threads), threads


def raise_limit(wanted: int) -> int:
    """Raise the limit of this process to `wanted`, as far as it may be; returns the limit."""
    found = resource.getrlimit(resource.RLIMIT_NOFILE)
    soft, hard = (wanted if limit == resource.RLIM_INFINITY else limit for limit in found)
    if soft >= min(wanted, hard):
        return soft
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(wanted, hard), found[1]))
    except (OSError, ValueError):  # macOS has another limit, which is lower
        return soft
    return min(wanted, hard)
