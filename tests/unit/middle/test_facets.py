"""Counts of values that come with the hits of a search: whole, of one version, or not kept."""

import asyncio

import msgspec
import pytest

from common.errors import Unavailable
from middle.facet_messages import Facet, FacetValue
from search.browse_messages import Counts, ValueCount
from tests.unit.answering import Answering
from tests.unit.shards import down

TOLD = {"tag": Facet([FacetValue("a", 3)], 0)}
COUNTING_S, SEARCHING_S = 0.5, 1.5
"""While values are counted and the query is embedded, and then, while hits are looked for."""


def counting() -> Answering:
    """A query with facets. Its embedding, its hits and its counts take a second each."""
    asked = Answering(facets=["tag"])
    for shard, server in enumerate(asked.servers):
        server.counted = {shard: Counts(2, [[ValueCount("a", 1 + shard)]])}
        server.after_s = 1.0
    return asked


async def test_facets_are_kept_with_the_answer() -> None:
    """All shards are asked once; a query without facets has none."""
    asked = counting()
    found = [await asked.ask() for _ in range(2)]

    assert [(one.outcome, one.answer.facets) for one in found] == [("miss", TOLD), ("hit", TOLD)]
    assert (await Answering().ask()).answer.facets is msgspec.UNSET


async def test_counts_of_another_version_are_not_kept() -> None:
    """An index was swapped while they were counted, and back before the hits were found."""
    asked = counting()
    answer = asyncio.create_task(asked.ask())
    await asyncio.sleep(COUNTING_S)
    for server in asked.servers:
        server.versions = ["v2"]
    await asyncio.sleep(SEARCHING_S - COUNTING_S)
    for server in asked.servers:
        server.versions = ["v1"]
    assert ("v1", TOLD) == ((found := (await answer).answer).index_version, found.facets)

    assert [(await asked.ask()).outcome for _ in range(2)] == ["miss", "hit"]


async def test_counts_of_fewer_shards_are_told() -> None:
    """In the coverage, and in the position; they are not kept, and refused where all are wanted."""
    asked = counting()
    asked.servers[1].position = 9

    async def ask() -> Answering:
        answer = asyncio.create_task(asked.ask())
        await asyncio.sleep(COUNTING_S)
        asked.servers[0].position, asked.servers[1].error = 7, down()
        await asyncio.sleep(SEARCHING_S - COUNTING_S)
        asked.servers[0].position, asked.servers[1].error = 8, None
        found = (await answer).answer
        assert (found.coverage.fraction, found.coverage.degraded, found.position) == (0.5, True, 7)
        assert found.facets == {"tag": Facet([FacetValue("a", 1)], 0)}
        return asked

    await ask()
    await ask()
    asked.query = msgspec.structs.replace(asked.query, require_full=True)
    with pytest.raises(Unavailable, match="1 of 2 shards"):
        await ask()
