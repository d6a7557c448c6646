"""What the shards of one index version have answered, and how many of them."""

from collections.abc import Sequence
from typing import Generic, NamedTuple, TypeVar

from common.errors import DeadlineExceeded, ServiceError, Unavailable
from middle.messages import Coverage, ShardCounts
from search.query_batch import ShardResult

Found = TypeVar("Found")


class FanOutResult(NamedTuple, Generic[Found]):
    """What the shards of one index version have found, and the coverage."""

    version: str
    version_digest: str
    space: str
    shards: dict[int, Found]
    coverage: Coverage
    position: int = 0
    """Of the log: every shard has the entries up to it."""

    def check(self, least: float) -> None:
        """Raise Unavailable if a smaller part of the shards answered."""
        if self.coverage.fraction < least:
            counts = self.coverage.shards
            told = f"{counts.ok} of {counts.total} shards answered"
            raise Unavailable(told, "insufficient_coverage")

    def without(self, shard: int) -> "FanOutResult[Found]":
        """This result with a shard counted as failed; raises Unavailable if no shard is left."""
        left = {number: hits for number, hits in self.shards.items() if number != shard}
        if not left:
            raise Unavailable("no shard answered", "no_shard")
        counts = self.coverage.shards
        return self._replace(
            shards=left, coverage=coverage_of(counts.total, len(left), counts.timeout)
        )


def result_of(
    answers: Sequence[ShardResult[Found]], failures: Sequence[Exception], timeout: int
) -> FanOutResult[Found]:
    """The result of the version with the most shards; of equals, of the newest version.

    `timeout` shards were too late. Raises the reason if no shard answered.
    """
    by_version: dict[tuple[str, str, str, int], dict[int, Found]] = {}
    for found in answers:
        # Two servers may give different indexes the same version name: keep the two apart.
        named = (found.version, found.version_digest, found.space, found.shard_count)
        by_version.setdefault(named, {}).update(found.shards)
    if not any(by_version.values()):
        raise why_none(failures)
    best = max(by_version, key=lambda named: (len(by_version[named]), named))
    version, digest, space, total = best
    shards = by_version[best]
    position = min(found.position for found in answers if found[:4] == best)
    return FanOutResult(
        version, digest, space, shards, coverage_of(total, len(shards), timeout), position
    )


def coverage_of(total: int, answered: int, timeout: int) -> Coverage:
    """The coverage by so many of all shards, of which some were too late."""
    missing = total - answered
    timeout = min(missing, timeout)
    counts = ShardCounts(total, answered, timeout, missing - timeout)
    return Coverage(counts, answered / total, missing > 0)


def why_none(failures: Sequence[Exception]) -> ServiceError:
    """The error of a query that no shard answered; an error of the client comes first."""
    told = [error for error in failures if isinstance(error, ServiceError)]
    for error in told:
        if error.status < 500 or error.code in ("no_index", "behind"):
            return error
    if told and all(isinstance(error, DeadlineExceeded) for error in told):
        return DeadlineExceeded("no shard answered within the deadline")
    return Unavailable("no shard answered", "no_shard")
