"""Asking every search server at once, and saying honestly how much of the index answered."""

import threading
import time
from collections.abc import Callable, Sequence
from queue import SimpleQueue
from typing import NamedTuple, TypeVar

from common.batcher import Gather
from common.errors import DeadlineExceeded, ServiceError, Unavailable
from common.metrics import BATCH_SIZE
from common.wire import Matrix
from middle.messages import Coverage, ShardCounts
from search.client import Found, SearchServer
from search.keys import parse_id, shard_of
from search.messages import Hits, Info, LookupReply
from search.rounds import Round, VectorQuery

Told = TypeVar("Told")
MAX_ROUND = 256
"""Queries in one message: more than all threads of a worker of middle have."""


class FannedOut(NamedTuple):
    """What the shards of one version found, and how many of them answered."""

    version: str
    seal: str
    space: str
    shards: dict[int, Hits]
    coverage: Coverage

    def without(self, shard: int) -> "FannedOut":
        """The same, but that shard failed; raises Unavailable when it was the last."""
        left = {number: hits for number, hits in self.shards.items() if number != shard}
        if not left:
            raise Unavailable("no shard answered", "no_shard")
        counts = self.coverage.shards
        return self._replace(
            shards=left, coverage=_coverage(counts.total, len(left), counts.timeout)
        )


class Sent(NamedTuple):
    """A query under way, with a slot for each server."""

    query: VectorQuery
    gather: Gather


class FanOut:
    """The search servers together."""

    def __init__(
        self, servers: Sequence[SearchServer], holds: Sequence[list[int]], shard_count: int
    ) -> None:
        """`holds[i]` are the shards of server i, as configured, until it says otherwise."""
        self._servers = servers
        self._holds = list(holds)
        self.shard_count = shard_count
        self._waiting: SimpleQueue[Sent | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._spread, name="fan-out", daemon=True)

    def start(self) -> None:
        """Start the lines to the servers; call it after the process has forked."""
        for server in self._servers:
            server.start()
        self._thread.start()

    def close(self) -> None:
        """Send what waits and close the lines."""
        self._waiting.put(None)
        if self._thread.ident is not None:
            self._thread.join()
        for server in self._servers:
            server.close()

    def search(self, vector: Matrix, k: int, deadline: float) -> FannedOut:
        """The k nearest of each shard, all of one version; raises when no shard answered."""
        return self.result(self.send(vector, k, deadline))

    def send(self, vector: Matrix, k: int, deadline: float) -> Sent:
        """Ask all servers, for `result`; does not wait for anything."""
        sent = Sent(VectorQuery(vector, k), Gather(len(self._servers), deadline))
        self._waiting.put(sent)
        return sent

    def result(self, sent: Sent) -> FannedOut:
        """What was found; raises when no shard answered."""
        query, deadline = sent.query, sent.gather.deadline
        results = sent.gather.wait()
        answers = [found for found in results if isinstance(found, Found)]
        self._learn(results)
        for version, seal in sorted({(found.version, found.seal) for found in answers}):
            others = [
                server
                for server, found in enumerate(results)
                if isinstance(found, Found) and (found.version, found.seal) != (version, seal)
            ]
            if not others:
                break
            # a swap is under way, to a newer version or back: one of the two all still hold
            again = self._ask_again(query._replace(seal=seal), others, deadline)
            answers += [found for found in again if isinstance(found, Found)]
            if all(isinstance(found, Found) for found in again):
                break
        failures = {i: error for i, error in enumerate(results) if isinstance(error, Exception)}
        return self._outcome(answers, failures)

    def lookup(self, image_id: str, deadline: float) -> LookupReply:
        """The image of an id, from a server that holds its shard; raises what that raises."""
        shard = shard_of(parse_id(image_id)[0], self.shard_count)
        servers = list(zip(self._servers, self._holds, strict=True))
        holders = [server for server, held in servers if shard in held]
        try:
            return _first(holders, lambda server, until: server.lookup(image_id, until), deadline)
        except ServiceError as error:
            if error.code != "wrong_shard":  # else they hold others than we had learnt
                raise
        others = [server for server, held in servers if shard not in held]
        return _first(others, lambda server, until: server.lookup(image_id, until), deadline)

    def info(self, deadline: float) -> Info:
        """What the index is, from the first server that answers; raises what the last raised."""
        return _first(self._servers, lambda server, until: server.info(until), deadline)

    def _ask_again(
        self, query: VectorQuery, servers: Sequence[int], deadline: float
    ) -> list[Found | Exception]:
        gather = Gather(len(servers), deadline)
        for slot, server in enumerate(servers):
            self._servers[server].search(Round([(query, gather)]), slot)
        return gather.wait()

    def _spread(self) -> None:
        """Take all queries that wait and hand them to the lines; never waits for a server."""
        while first := self._waiting.get():
            entries = [first]
            while not self._waiting.empty() and len(entries) < MAX_ROUND:
                if not (entry := self._waiting.get()):
                    self._waiting.put(None)
                    break
                entries.append(entry)
            BATCH_SIZE.labels("fan-out").observe(len(entries))
            for kind in {query.kind for query, _ in entries}:
                together = Round([entry for entry in entries if entry[0].kind == kind])
                for slot, server in enumerate(self._servers):
                    server.search(together, slot)

    def _learn(self, results: Sequence[Found | Exception]) -> None:
        for server, found in enumerate(results):
            if isinstance(found, Found):
                self._holds[server] = list(found.shards)
                self.shard_count = found.shard_count

    def _outcome(self, answers: list[Found], failures: dict[int, Exception]) -> FannedOut:
        """The version that most shards answered from, the newest of equals, and its coverage."""
        by_version: dict[tuple[str, str, str, int], dict[int, Hits]] = {}
        for found in answers:
            # who names a version but means another index by it is not believed by the others
            named = (found.version, found.seal, found.space, found.shard_count)
            by_version.setdefault(named, {}).update(found.shards)
        if not any(by_version.values()):
            raise _why_none(list(failures.values()))
        best = max(by_version, key=lambda named: (len(by_version[named]), named))
        version, seal, space, total = best
        shards = by_version[best]
        late = [i for i, error in failures.items() if isinstance(error, DeadlineExceeded)]
        timeout = sum(len(self._holds[server]) for server in late)
        return FannedOut(version, seal, space, shards, _coverage(total, len(shards), timeout))


def _coverage(total: int, answered: int, timeout: int) -> Coverage:
    missing = total - answered
    timeout = min(missing, timeout)
    counts = ShardCounts(total, answered, timeout, missing - timeout)
    return Coverage(counts, answered / total, missing > 0)


def _first(
    servers: Sequence[SearchServer], ask: Callable[[SearchServer, float], Told], deadline: float
) -> Told:
    """The first answer; one that hangs leaves the others their share of the time."""
    failure: ServiceError = Unavailable("no search server holds this shard", "wrong_shard")
    for place, server in enumerate(servers):
        now = time.monotonic()
        try:
            return ask(server, now + (deadline - now) / (len(servers) - place))
        except ServiceError as error:
            if error.status < 500:
                raise
            failure = error
    raise failure


def _why_none(failures: Sequence[Exception]) -> ServiceError:
    """The error for a query that no shard answered: the client's own fault first."""
    told = [error for error in failures if isinstance(error, ServiceError)]
    for error in told:
        if error.status < 500 or error.code == "no_index":
            return error
    if told and all(isinstance(error, DeadlineExceeded) for error in told):
        return DeadlineExceeded("no shard answered within the deadline")
    return Unavailable("no shard answered", "no_shard")
