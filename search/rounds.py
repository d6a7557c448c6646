"""A round: queries that go to the search servers together, as one message that is made once."""

from collections.abc import Sequence
from functools import cached_property
from itertools import repeat
from typing import Any, NamedTuple

import numpy as np

from common.batcher import Gather
from common.digest import Sealed, seal
from common.origin import together
from common.wire import Matrix, encode, pack_rows
from search.messages import SearchRequest


class VectorQuery(NamedTuple):
    """A unit vector, float32 [dim]; how many hits; the version's seal, None for the newest."""

    vector: Matrix
    k: int
    seal: str | None = None

    @property
    def kind(self) -> tuple[str | None, int]:
        """What is the same in all queries of a message."""
        return self.seal, len(self.vector)


class Round:
    """Queries of one kind and who waits for each; a batcher takes it for one item.

    Every server settles a slot of it, which is that slot of all its queries.
    """

    def __init__(self, entries: Sequence[tuple[VectorQuery, Gather]]) -> None:
        """One entry at least."""
        self.queries = [query for query, _ in entries]
        self.deadline = max(gather.deadline for _, gather in entries)
        self.origin = together(gather.origin for _, gather in entries)
        self._gathers = [gather for _, gather in entries]

    @property
    def abandoned(self) -> bool:
        """Whether nobody waits any more."""
        return all(gather.abandoned for gather in self._gathers)

    @cached_property
    def request(self) -> SearchRequest:
        """The queries as a message."""
        vectors = np.stack([query.vector for query in self.queries])
        ks = [query.k for query in self.queries]
        return SearchRequest(vectors.shape[1], pack_rows(vectors), ks, self.queries[0].seal)

    @cached_property
    def body(self) -> Sealed:
        """The same on the wire."""
        return seal(encode(self.request))

    def settle(self, slot: int, result: Any) -> None:
        """Give each query its own of a list of results, or all of them an Exception."""
        results = repeat(result) if isinstance(result, Exception) else result
        for gather, one in zip(self._gathers, results, strict=False):
            gather.settle(slot, one)


def body_of(rounds: Sequence[Round]) -> Sealed:
    """The message with the queries of rounds of one kind, in order."""
    if len(rounds) == 1:
        return rounds[0].body
    requests = [one.request for one in rounds]
    vectors = b"".join([one.vectors for one in requests])
    ks = [k for one in requests for k in one.ks]
    return seal(encode(SearchRequest(requests[0].dim, vectors, ks, requests[0].seal)))
