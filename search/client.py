"""The client of the search servers: each has a line on which queries go out in batches."""

from collections.abc import Iterator, Sequence
from functools import partial
from itertools import islice
from typing import Any, NamedTuple

from common.batcher import Batcher
from common.digest import seal
from common.errors import ServiceError
from common.inside import Inside
from common.wire import encode
from search.asking import ask
from search.messages import Hits, Info, LookupReply, LookupRequest
from search.replicas import Replicas
from search.replies import read_info, read_lookup, read_search
from search.rounds import Round, body_of

MAX_BATCH = 32
"""Rounds that go together when a server has fallen behind: so many are all that may be asked in the
time of one reply. A round has 256 queries at most, on a quiet system one."""
MAX_WAITING = 1024
CONNECTIONS = 1
"""Batches under way to a replica at a time: with two, batches are half as large, and 21 servers
spend 8.3 ms of CPU on a query instead of 4.5."""

LOOKUPS = 16
"""Connections kept for lookups: a page of thumbnails asks for as many at once."""


class Found(NamedTuple):
    """One query's hits from one server: per shard, all of one version."""

    version: str
    seal: str
    space: str
    shard_count: int
    shards: dict[int, Hits]


class SearchServer:
    """One entry of the server list: replicas that hold the same shards."""

    def __init__(self, name: str, addresses: Sequence[str], inside: Inside | None = None) -> None:
        self.name = name
        self._replicas = Replicas(name, addresses, len(addresses) * CONNECTIONS + LOOKUPS, inside)
        lines = [self._send] * (CONNECTIONS * len(addresses))
        self._line = Batcher(name, lines, MAX_BATCH, MAX_WAITING)

    def start(self) -> None:
        """Start the threads that send; call it after the process has forked."""
        self._line.start()

    def close(self) -> None:
        """Finish what waits and close the connections."""
        self._line.close()
        self._replicas.close()

    def search(self, queries: Round, slot: int) -> None:
        """Settle a slot of a round with what this server has Found for each query, or the error."""
        self._line.submit(queries, queries, slot)

    def lookup(self, image_id: str, deadline: float) -> LookupReply:
        """The image of an id; raises NotFound's ServiceError, Unavailable or DeadlineExceeded."""
        body = seal(encode(LookupRequest(image_id)))
        return ask(self._replicas, "/lookup", body, deadline, read_lookup)

    def info(self, deadline: float) -> Info:
        """What this server holds; raises as `lookup`."""
        return ask(self._replicas, "/info", None, deadline, read_info)

    def _send(self, rounds: list[Round], deadline: float) -> list[Any]:
        """Send the rounds of one kind together; for each what is found, or the error."""
        results: dict[Round, list[Found] | ServiceError] = {}
        kinds = {one: one.queries[0].kind for one in rounds}
        for kind in set(kinds.values()):
            alike = [one for one in rounds if kinds[one] == kind]
            try:
                found = self._send_alike(alike, deadline)
                results |= {one: list(islice(found, len(one.queries))) for one in alike}
            except ServiceError as error:
                results |= dict.fromkeys(alike, error)
        return [results[one] for one in rounds]

    def _send_alike(self, rounds: list[Round], deadline: float) -> Iterator[Found]:
        ks = [query.k for one in rounds for query in one.queries]
        read = partial(read_search, ks=ks, seal=rounds[0].queries[0].seal)
        reply = ask(self._replicas, "/search", body_of(rounds), deadline, read)
        shards = [(one.shard, one.hits) for one in reply.shards]
        for i in range(len(ks)):
            yield Found(
                reply.version,
                reply.seal,
                reply.space,
                reply.shard_count,
                {shard: hits[i] for shard, hits in shards},
            )
