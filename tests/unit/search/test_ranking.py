"""Of all shards of a server only the best hits are looked up, and what is left out is told."""

from collections.abc import Sequence
from itertools import chain

import msgspec
import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from middle.merge import is_complete, merge
from search.messages import Hits
from search.ranking import LookedUp, best_of_all, nothing, rank, rank_hits
from tests.unit.shards import hits

scores = st.integers(-9, 9).map(lambda tenths: tenths / 10)
found = st.lists(scores, max_size=6).map(lambda given: sorted(given, reverse=True))
shards = st.lists(st.lists(found, min_size=3, max_size=3), max_size=5)
"""The scores of each of three queries in some shards."""


def of(shard: Sequence[Sequence[float]], number: int = 0) -> list[Hits]:
    """Hits with these scores; images are numbered through."""
    places = iter(range(100 * number, 100 * number + 100))
    return [hits(*((score, next(places)) for score in query)) for query in shard]


def told(one: Hits) -> list[float]:
    """The scores of hits."""
    return [round(float(score), 1) for score in np.frombuffer(one.scores, "<f4")]


@given(shards, st.lists(st.integers(1, 8), min_size=3, max_size=3))
def test_the_best_of_all_are_given_and_the_rest_is_told(
    shards: list[list[list[float]]], most: list[int]
) -> None:
    """Of each shard the first hits; `beyond` is the score of the next."""
    whole = [of(shard, number) for number, shard in enumerate(shards)]
    kept = best_of_all([rank_hits(shard) for shard in whole], most)

    for query, needed in enumerate(most):
        every = sorted(chain(*(shard[query] for shard in shards)), reverse=True)
        given = sorted(chain(*(told(shard[query]) for shard in kept)), reverse=True)
        assert every[:needed] == given[:needed]
        for before, after in zip(whole, kept, strict=True):
            assert first_of(before[query], len(after[query].records)) == after[query]


def first_of(one: Hits, count: int) -> Hits:
    """The first hits, and how good the next one is."""
    beyond = np.frombuffer(one.scores, "<f4")[count:].tolist()
    parts = one.scores[: 4 * count], one.keys[: 24 * count], one.records[:count]
    return Hits(*parts, beyond=beyond[0] if beyond else None)


@given(shards, st.integers(1, 8))
def test_who_merges_them_misses_none(shards: list[list[list[float]]], k: int) -> None:
    """Or knows that it might, if copies are dropped."""
    whole = [of(shard, number) for number, shard in enumerate(shards)]
    kept = best_of_all([rank_hits(shard) for shard in whole], [k] * 3)
    for query in range(3):
        all_hits = {number: shard[query] for number, shard in enumerate(whole)}
        some = {number: shard[query] for number, shard in enumerate(kept)}
        merged = merge(some, k)

        assert merge(all_hits, k) == merged
        assert is_complete(some, 7, merged, k, None)
        assert is_complete(some, 7, merged[1:], k, None) == (
            not any(one.beyond is not None and one.beyond > -1 for one in some.values())
        )


def test_regions_stay_with_their_images() -> None:
    """Zeros for images of a shard in which some other image has one."""
    first, second = hits((0.9, 1), (0.8, 2)), hits((0.7, 3))
    first.regions = np.arange(8, dtype="<f4").tobytes()
    (one, other), *_ = best_of_all([rank_hits([first, second])], [1])

    assert (one.regions, other.regions) == (first.regions[:16], bytes(16))
    assert other.beyond is None


def test_a_query_gets_as_many_as_it_asked_for() -> None:
    """Though one beside it asked for more; and none where nothing was found."""
    scores = np.array([[0.9, 0.8], [0.7, 0.6]], np.float32)
    ranking = rank(
        scores,
        scores.astype(int),
        [1, 2],
        lambda labels: LookedUp(b"", [msgspec.Raw()] * len(labels)),
    )

    assert [[0.9], [0.7, 0.6]] == list(map(told, ranking.hits()))
    assert [hits(), hits()] == nothing(2).hits()
    assert [[hits()], [hits()]] == best_of_all([nothing(1), nothing(1)], [1])
    assert [] == best_of_all([], [])
