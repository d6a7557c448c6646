"""Which server holds which shards."""

import hashlib
from functools import lru_cache


@lru_cache(maxsize=16)
def deal(servers: int, shards: int) -> tuple[tuple[int, ...], ...]:
    """The shards of each server: each shard has one, and no server has two more than another.

    Another number of servers moves few shards: 8 or 9 of 24 from three servers to four, where 6
    must. Dealt in turn, 18 would move.
    Source: rendezvous hashing (Thaler and Ravishankar, 1998), with a limit for each server: the
    pairs of shard and server are taken by falling hash.
    """
    pairs = ((shard, server) for shard in range(shards) for server in range(servers))
    least, larger = divmod(shards, servers)
    held: list[list[int]] = [[] for _ in range(servers)]
    dealt: set[int] = set()
    for shard, server in sorted(pairs, key=_weight, reverse=True):
        has = len(held[server])
        if shard not in dealt and (has < least or (has == least and larger > 0)):
            larger -= has == least
            held[server].append(shard)
            dealt.add(shard)
    return tuple(tuple(sorted(mine)) for mine in held)


def _weight(pair: tuple[int, int]) -> bytes:
    shard, server = pair
    return hashlib.sha256(f"{shard} {server}".encode()).digest()
