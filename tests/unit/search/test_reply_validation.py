"""What a search server answers is believed whole or not at all."""

from collections.abc import Callable
from typing import Any

import msgspec
import numpy as np
import pytest

from common.errors import InvalidResponse
from common.wire import encode
from search.browse_messages import (
    BrowseRequest,
    CountRequest,
    Counts,
    Listed,
    Place,
    ShardReply,
    ValueCount,
)
from search.messages import Hits, Info, Record, SearchReply, ShardHits
from search.reply_validation import (
    validate_browse,
    validate_counts,
    validate_info,
    validate_lookup,
    validate_search,
)
from tests.unit.shards import hits, lookup_reply

KS = [2, 3]


def reply(**changes: Any) -> SearchReply:
    """Shards 1 and 2 of 3, two queries."""
    shards = [
        ShardHits(1, [hits((0.9, 4), (0.8, 1)), hits((1.0, 7))]),
        ShardHits(2, [hits(), hits((0.5, 2), (0.5, 5), (-1.0, 8))]),
    ]
    given = SearchReply("v1", "digest", "space", 3, shards)
    return msgspec.structs.replace(given, **changes)


def of_shard_one(*found: Hits) -> SearchReply:
    return reply(shards=[ShardHits(1, list(found))])


def with_region(*numbers: float) -> Hits:
    return msgspec.structs.replace(hits((0.5, 1)), regions=np.array(numbers, "<f4").tobytes())


def beyond(score: float, given: Hits | None = None) -> Hits:
    """Hits beyond which there are others."""
    return msgspec.structs.replace(given or hits(), beyond=score)


@pytest.mark.parametrize("region", [(0, 0, 0, 0), (0.5, 0, 1, 0.5)])
def test_a_hit_may_be_a_part_of_its_image(region: tuple[float, ...]) -> None:
    """Or all of it."""
    given = of_shard_one(with_region(*region), hits())
    assert validate_search(encode(given), KS, None) == given


def test_a_proper_reply_is_taken() -> None:
    """Whatever version it is of where none was asked for."""
    for version_digest in (None, "digest"):
        assert validate_search(encode(reply()), KS, version_digest) == reply()
    cut = of_shard_one(beyond(0.5, hits((0.5, 1))), beyond(1.0))
    assert validate_search(encode(cut), KS, None) == cut


@pytest.mark.parametrize(
    ("lie", "told"),
    [
        (reply(version_digest="other"), "another version"),
        (reply(shards=[ShardHits(1, [hits(), hits()])] * 2), "a shard twice"),
        (reply(shards=[ShardHits(3, [hits(), hits()])]), "a shard that is none"),
        (reply(shards=[ShardHits(-1, [hits(), hits()])]), "a shard that is none"),
        (reply(shard_count=0, shards=[]), "has no shards"),
        (reply(shard_count=-1, shards=[]), "has no shards"),
        (of_shard_one(hits()), "not an answer for each query"),
        (of_shard_one(hits((0.9, 1), (0.8, 1), (0.7, 1)), hits()), "more hits than"),
        (of_shard_one(hits((1.1, 1)), hits()), "no cosine"),
        (of_shard_one(hits((float("nan"), 1)), hits()), "no cosine"),
        (of_shard_one(hits((0.5, 1), (0.9, 1)), hits()), "not the best first"),
        (of_shard_one(hits((0.5, 2)), hits()), "another shard's images"),
        (of_shard_one(beyond(0.6, hits((0.5, 1))), hits()), "left out the best"),
        (of_shard_one(beyond(1.1), hits()), "left out the best"),
        (of_shard_one(beyond(-1.1), hits()), "left out the best"),
        (of_shard_one(beyond(float("nan")), hits()), "left out the best"),
        (of_shard_one(Hits(b"", hits((0.5, 1)).keys, hits((0.5, 1)).records), hits()), "unequal"),
        (of_shard_one(Hits(hits((0.5, 1)).scores, b"", hits((0.5, 1)).records), hits()), "unequal"),
        (of_shard_one(with_region(0.5, 0, 1), hits()), "unequal"),
        (of_shard_one(with_region(0.5, 0, 1, 1.1), hits()), "a region that is none"),
        (of_shard_one(with_region(0.5, 0, 0.5, 1), hits()), "a region that is none"),
        (of_shard_one(with_region(0.5, 0, 1, float("nan")), hits()), "a region that is none"),
    ],
)
def test_a_reply_that_cannot_be_true_is_refused(lie: SearchReply, told: str) -> None:
    """It is as if the server had not answered."""
    with pytest.raises(InvalidResponse, match=told):
        validate_search(encode(lie), KS, "digest")


@pytest.mark.parametrize("position", [-1, 4, 2**63])
def test_a_position_that_cannot_be_is_refused(position: int) -> None:
    """Earlier than was asked for, or no position at all."""
    lookup = msgspec.structs.replace(lookup_reply(), position=position)
    with pytest.raises(InvalidResponse, match="position"):
        validate_search(encode(reply(position=position)), KS, None, 5)
    with pytest.raises(InvalidResponse, match="position"):
        validate_lookup(encode(lookup), 5)
    assert 5 == validate_search(encode(reply(position=5)), KS, None, 5).position
    if position != 4:
        with pytest.raises(InvalidResponse, match="position"):
            validate_info(encode(Info("v", "s", "m", 2, 0, [], 1, position=position)))


def test_the_hits_of_the_next_query_may_be_better() -> None:
    """Only those of one query are in order."""
    of_two = of_shard_one(hits((0.1, 1)), hits((0.9, 1)))

    assert validate_search(encode(of_two), KS, None) == of_two


def listing(*images: Listed, shard: int = 0) -> ShardReply[list[Listed]]:
    return ShardReply("v1", "digest", "space", 2, {shard: list(images)})


def listed(when: str | None, number: int, size: int = 24) -> Listed:
    return Listed(when, number.to_bytes(size, "big"), Record("a.jpg"))


ASKED = BrowseRequest(2, Place("2024", bytes(16)), version_digest="digest")


def test_a_proper_list_is_taken() -> None:
    """The newest first, then those without a time; and one of nothing."""
    for found in (listing(listed("2023", 2), listed(None, 1)), listing()):
        assert found == validate_browse(encode(found), ASKED)


@pytest.mark.parametrize(
    ("lie", "told"),
    [
        (listing(shard=2), "a shard that is none"),
        (listing(*[listed("2023", n) for n in range(3)]), "more images"),
        (listing(listed("2023", 1, 23)), "no key"),
        (listing(listed("2022", 1), listed("2023", 2)), "not in order"),
        (listing(listed("2025", 1)), "not in order"),
        (listing(listed("2023", 1), listed("2023", 1)), "not in order"),
        (msgspec.structs.replace(listing(), version_digest="other"), "another version"),
    ],
)
def test_a_list_that_cannot_be_true_is_refused(lie: ShardReply[list[Listed]], told: str) -> None:
    """Each image comes after the one before, also after the last of the page before."""
    with pytest.raises(InvalidResponse, match=told):
        validate_browse(encode(lie), ASKED)


@pytest.mark.parametrize(
    ("counts", "told"),
    [
        (Counts(1, []), "each field"),
        (Counts(1, [[ValueCount("a", 2)]]), "no count"),
        (Counts(1, [[ValueCount("a", 0)]]), "no count"),
        (Counts(9, [[ValueCount(n, 1) for n in range(10_001)]]), "too many values"),
    ],
)
def test_counts_that_cannot_be_true_are_refused(counts: Counts, told: str) -> None:
    """No value is more often there than there are images."""
    message = CountRequest(["tag"])
    proper = ShardReply("v1", "digest", "space", 2, {1: Counts(2, [[ValueCount("a", 2)]])})
    assert proper == validate_counts(encode(proper), message)
    with pytest.raises(InvalidResponse, match=told):
        validate_counts(encode(msgspec.structs.replace(proper, shards={1: counts})), message)


@pytest.mark.parametrize(
    "changes",
    [
        {"dim": 3},
        {"vector": b""},
        {"dim": 0, "vector": b""},
        {"vector": np.array([1.0, 1.0], "<f4").tobytes()},
        {"vector": np.array([np.nan, 1.0], "<f4").tobytes()},
    ],
)
def test_a_looked_up_image_has_a_unit_vector(changes: dict[str, Any]) -> None:
    """Else its neighbours would be wrong."""
    assert validate_lookup(encode(lookup_reply())) == lookup_reply()
    with pytest.raises(InvalidResponse, match="vector"):
        validate_lookup(encode(msgspec.structs.replace(lookup_reply(), **changes)))


@pytest.mark.parametrize(
    "read", [validate_info, validate_lookup, lambda body: validate_search(body, [], None)]
)
def test_bytes_that_are_no_message_are_refused(read: Callable[[bytes], object]) -> None:
    """Whatever they are."""
    for body in (b"", b"\xc1", encode({"version": 1})):
        with pytest.raises(InvalidResponse):
            read(body)


def test_what_a_server_holds_is_read() -> None:
    """As it tells it."""
    info = Info("v1", "space", "clip", 2, 7, [0], 2, "digest")

    assert validate_info(encode(info)) == info
