"""Who holds which shards, and which server is asked for which.

While servers are added or removed, those of an old and of a new list run side by side: two replicas
of one entry hold different shards, and a shard is in several entries. Each shard is then asked of
one holder. Otherwise each server is asked for all that it holds.
"""

from collections.abc import Collection, Iterable, Sequence
from typing import NamedTuple

from search.query_batch import Ask


class _Group(NamedTuple):
    """Replicas of one server that hold the same shards."""

    server: int
    shards: frozenset[int]
    replicas: frozenset[str]


class Holdings:
    """The shards that each replica holds, by its address, as replies and /info tell."""

    def __init__(self) -> None:
        self._held: dict[str, frozenset[int]] = {}
        self._counts: dict[str, int] = {}
        self._doubted: set[str] = set()

    def learn(
        self,
        replica: str,
        shard_count: int,
        shards: Iterable[int],
        asked: Collection[int] | None = None,
    ) -> None:
        """Note what a replica has of the shards that it was asked for; None: it has no others."""
        others = () if asked is None else self._held.get(replica, frozenset()) - set(asked)
        self._held[replica] = frozenset(shards).union(others)
        self._counts[replica] = shard_count
        self._doubted.discard(replica)

    def doubt_others(self, replicas: Collection[str]) -> None:
        """Doubt what is known of all but these: who was ejected may come back with other shards."""
        self._doubted |= self._held.keys() - set(replicas)

    def of(self, replicas: Iterable[str]) -> frozenset[int]:
        """The shards that one or more of the replicas hold, as far as is known."""
        return frozenset().union(*(self._held.get(replica, ()) for replica in replicas))

    def holders(self, replicas: Iterable[str], shard: int) -> frozenset[str]:
        """Those of the replicas that are known to hold a shard."""
        return frozenset(replica for replica in replicas if shard in self._held.get(replica, ()))

    def plan(self, servers: Sequence[Sequence[str]], shard_count: int) -> list[Ask]:
        """What to ask each server for; `servers` has the replicas in use of each.

        A server of which nothing is known is asked for all that it holds. So are all servers while
        some have changed to an index with another number of shards.
        """
        groups = self._groups(servers)
        shards = [shard for group in groups for shard in group.shards]
        is_usual = len(shards) == len(set(shards))
        counts = {self._counts[replica] for group in groups for replica in group.replicas}
        if is_usual or len(counts) > 1:
            return [Ask(server) for server in range(len(servers))]
        known = {group.server for group in groups}
        unknown = [Ask(server) for server in range(len(servers)) if server not in known]
        return unknown + _assigned(groups, range(shard_count))

    def plan_again(self, servers: Sequence[Sequence[str]], missing: Iterable[int]) -> list[Ask]:
        """Whom to ask for shards that a first reply lacks: those that are known to hold them.

        Without any, replicas of which nothing is known: they may hold the shards.
        """
        asks = _assigned(self._groups(servers), missing)
        left = set(missing).difference(*(ask.shards or () for ask in asks))
        for server, replicas in enumerate(servers):
            unknown = frozenset(replica for replica in replicas if not self._is_known(replica))
            if left and unknown:
                asks.append(Ask(server, tuple(sorted(left)), unknown))
        return asks

    def _is_known(self, replica: str) -> bool:
        return replica in self._held and replica not in self._doubted

    def _groups(self, servers: Sequence[Sequence[str]]) -> list[_Group]:
        found: dict[tuple[int, frozenset[int]], set[str]] = {}
        for server, replicas in enumerate(servers):
            for replica in filter(self._is_known, replicas):
                found.setdefault((server, self._held[replica]), set()).add(replica)
        return [_Group(*key, frozenset(replicas)) for key, replicas in found.items()]


def _assigned(groups: Sequence[_Group], shards: Iterable[int]) -> list[Ask]:
    """Each shard for one of the groups that hold it: for the one with the fewest so far."""
    holders = {shard: [group for group in groups if shard in group.shards] for shard in shards}
    taken: dict[_Group, list[int]] = {group: [] for group in groups}
    for shard in sorted(holders, key=lambda shard: len(holders[shard])):
        if holders[shard]:
            min(map(taken.__getitem__, holders[shard]), key=len).append(shard)
    return [
        Ask(group.server, tuple(sorted(mine)), group.replicas)
        for group, mine in taken.items()
        if mine
    ]
