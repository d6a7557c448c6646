"""Browsing all shards: merged, of one version, with the coverage told."""

import asyncio
from typing import Any

import pytest

from common.errors import BadRequest, Unavailable
from middle.browse import Browser, cursor_of, read_cursor
from middle.browse_messages import BrowseAnswer, BrowseQuery, CountsQuery, FacetsAnswer
from search.browse_messages import MAX_COUNTED, Counts, Listed, Place, ValueCount
from search.messages import Record
from tests.unit.shards import FakeServer, down, fan_out_of


def listed(when: str | None, number: int) -> Listed:
    """The image of a number."""
    return Listed(when, number.to_bytes(16, "big") + bytes(8), Record(f"{number}.jpg"))


async def browse(*servers: FakeServer, **query: Any) -> BrowseAnswer:
    soon = asyncio.get_running_loop().time() + 5
    return await Browser(fan_out_of(*servers), 0.5).browse(BrowseQuery(**query), soon)


async def facets(*servers: FakeServer) -> FacetsAnswer:
    soon = asyncio.get_running_loop().time() + 5
    return await Browser(fan_out_of(*servers), 0.5).facets(CountsQuery(field=["tag"]), soon)


def two_servers() -> tuple[FakeServer, FakeServer]:
    """With images of both shards in turn."""
    servers = FakeServer([0]), FakeServer([1])
    servers[0].listed = {0: [listed("2024", 2), listed("2022", 4), listed(None, 5)]}
    servers[1].listed = {1: [listed("2025", 1), listed("2023", 3)]}
    servers[0].counted = {0: Counts(3, [[ValueCount("a", 2), ValueCount(1, 1)]])}
    servers[1].counted = {1: Counts(2, [[ValueCount("b", 1), ValueCount("a", 1)]])}
    return servers


async def test_the_newest_of_all_shards_come_first() -> None:
    """A page has as many as were asked for, and leads to the next if there is more."""
    whole = await browse(*two_servers(), limit=5)
    page = await browse(*two_servers(), limit=3)

    assert [f"{n}.jpg" for n in range(1, 6)] == [image.path for image in whole.images]
    assert (None, whole.images[:3]) == (whole.next, page.images)
    assert Place("2023", (3).to_bytes(16, "big")) == read_cursor(page.next or "")
    assert (1.0, "v1") == (page.coverage.fraction, page.index_version)


async def test_a_dead_server_is_told_and_too_many_refuse() -> None:
    """As in a search."""
    one, other = two_servers()
    one.error = down()

    page = await browse(one, other)
    assert (["1.jpg", "3.jpg"], True) == (
        [image.path for image in page.images],
        page.coverage.degraded,
    )
    assert (0.5, 2) == ((found := await facets(one, other)).coverage.fraction, found.images)
    with pytest.raises(Unavailable, match="1 of 3 shards answered"):
        await browse(FakeServer([0], shard_count=3), one)


async def test_a_page_is_of_one_version() -> None:
    """During a swap both servers still have the version before."""
    one, other = two_servers()
    one.versions = ["v2", "v1"]

    page = await browse(one, other)
    assert ("v1", 5, 1.0) == (page.index_version, len(page.images), page.coverage.fraction)


async def test_counts_of_all_shards_are_added() -> None:
    """The most frequent first, of equals by value; at most a hundred are told."""
    one, other = two_servers()
    answer = await facets(one, other)
    told = [(one.value, one.count) for one in answer.facets["tag"].values]
    assert ([("a", 3), (1, 1), ("b", 1)], 5) == (told, answer.images)

    one.counted = {0: Counts(MAX_COUNTED, [[ValueCount(n, 1) for n in range(MAX_COUNTED - 2)]])}
    tag = (await facets(one, other)).facets["tag"]
    assert (100, MAX_COUNTED - 100) == (len(tag.values), tag.more)
    one.counted = {0: Counts(MAX_COUNTED, [[ValueCount(n, 1) for n in range(MAX_COUNTED)]])}
    with pytest.raises(BadRequest, match="'tag' has more than 10000 values"):
        await facets(one, other)


@pytest.mark.parametrize("place", [Place("2024", bytes(16)), Place(None, b"\xff" * 16)])
def test_a_cursor_leads_to_its_place(place: Place) -> None:
    """It has letters that an address may have."""
    cursor = cursor_of(place)
    assert (place, True) == (
        read_cursor(cursor),
        cursor.replace("-", "").replace("_", "").isalnum(),
    )


@pytest.mark.parametrize(
    "text", ["", "a", "!", "é", "AAAA", cursor_of(Place("x", b"1")), "kg" * 9999]
)
def test_what_is_no_cursor_is_refused(text: str) -> None:
    """Whatever it is."""
    with pytest.raises(BadRequest) as refused:
        read_cursor(text)
    assert "bad_cursor" == refused.value.code
