"""Merging: sharded equals single, copies dropped, nothing better left behind."""

from typing import get_args

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from middle.merge import NEAR_BITS, SECOND_ASK_RATE, BrokenShard, hits_per_shard, is_complete, merge
from middle.messages import Dedup
from search.image_key import IMAGE_KEY
from search.messages import Hits, Record

Image = tuple[float, int, int]
ShardImages = list[Image]


def hits(*images: Image) -> Hits:
    """Hits of (score, content, perceptual hash), best first; the path is the content."""
    ordered = sorted(images, key=lambda image: -image[0])
    keys = np.array(
        [(content, place, look) for place, (_, content, look) in enumerate(ordered)], IMAGE_KEY
    )
    return Hits(
        np.array([score for score, _, _ in ordered], "<f4").tobytes(),
        keys.tobytes(),
        [msgspec.Raw(msgspec.msgpack.encode(Record(f"{content}"))) for _, content, _ in ordered],
    )


def test_a_region_is_told_of_hits_that_have_one() -> None:
    """None of a hit that is found whole, nor of a shard whose images have no regions."""
    first, second = hits((0.9, 1, 0), (0.7, 2, 0)), hits((0.8, 3, 0))
    first.regions = np.array([[0.5, 0, 1, 0.1], [0] * 4], "<f4").tobytes()

    found = msgspec.to_builtins(merge({0: first, 1: second}, 3))

    assert [(0.5, 0, 1, 0.1), None, None] == [hit.get("region") for hit in found]


scores = st.floats(-1, 1, width=32)
images = st.lists(st.tuples(scores, st.integers(0, 20), st.integers(0, 2**64 - 1)), max_size=20)


@given(st.lists(images, max_size=5), st.integers(1, 30))
def test_merging_shards_is_sorting_everything(shards: list[ShardImages], k: int) -> None:
    """Without dropping copies, the k best of all shards, best first."""
    merged = merge({number: hits(*shard) for number, shard in enumerate(shards)}, k)

    everything = sorted((score for shard in shards for score, _, _ in shard), reverse=True)
    assert [np.float32(score) for score in everything[:k]] == [hit.score for hit in merged]


@given(images, st.integers(1, 30))
def test_of_equal_files_the_best_is_kept(shard: ShardImages, k: int) -> None:
    """With `exact` no content comes twice, and each comes with its best score."""
    merged = merge({0: hits(*shard)}, k, "exact")

    best: dict[str, float] = {}
    for score, content, _ in shard:
        best[str(content)] = max(score, best.get(str(content), -2))
    expected = sorted(best.values(), reverse=True)[:k]
    assert expected == [hit.score for hit in merged]
    assert all(best[hit.path] == hit.score for hit in merged)


def test_what_looks_the_same_is_dropped_by_near_only() -> None:
    """Hashes that differ in up to NEAR_BITS bits look the same."""
    same, other = (1 << NEAR_BITS) - 1, (1 << (NEAR_BITS + 1)) - 1
    shard = hits((0.9, 1, 0), (0.8, 2, same), (0.7, 3, other))

    assert [hit.path for hit in merge({0: shard}, 10, "exact")] == ["1", "2", "3"]
    assert [hit.path for hit in merge({0: shard}, 10, "near")] == ["1", "3"]


def test_hits_below_the_least_score_are_left_out() -> None:
    """min_score is inclusive."""
    shard = hits((0.9, 1, 0), (0.5, 2, 0), (0.25, 3, 0))

    assert [hit.path for hit in merge({0: shard}, 10, "none", 0.5)] == ["1", "2"]


def test_a_shard_used_up_by_copies_is_asked_for_more() -> None:
    """When what a full shard did not give may beat a hit, the merge is not complete."""
    copies = hits((0.9, 1, 0), (0.9, 1, 0), (0.9, 1, 0))
    worse = hits((0.1, 2, 0), (0.05, 3, 0))
    shards = {0: copies, 1: worse}
    merged = merge(shards, 2, "exact")

    assert [hit.path for hit in merged] == ["1", "2"]
    assert not is_complete(shards, 3, merged, 2, None)
    assert is_complete(shards, 4, merged, 2, None)
    assert is_complete(shards, 3, merge(shards, 2, "exact", 0.9), 2, 0.9)


@given(st.lists(images, max_size=5), st.integers(1, 30))
def test_without_copies_one_round_is_enough(shards: list[ShardImages], k: int) -> None:
    """The k best of each shard hold the k best of all."""
    cut = {n: hits(*sorted(shard, reverse=True)[:k]) for n, shard in enumerate(shards)}

    assert is_complete(cut, k, merge(cut, k), k, None)


def test_more_like_an_image_leaves_out_its_copies_too() -> None:
    """The image asked with and, by `dedup`, its copies and what looks like it are left out."""
    shard = hits((1.0, 7, 0), (1.0, 7, 0), (0.9, 8, 1), (0.8, 9, 2**64 - 1))
    asked = f"{7:016x}{1:016x}"

    found = {d: [h.path for h in merge({0: shard}, 9, d, like=asked)] for d in get_args(Dedup)}
    assert {"exact": ["8", "9"], "near": ["9"], "none": ["7", "8", "9"]} == found


def test_ids_and_thumbnails_come_from_the_key() -> None:
    """The id is the content and location hash in hex."""
    (hit,) = merge({0: hits((2.0, 255, 7))}, 1)

    assert hit.id == "00000000000000ff0000000000000000"
    assert f"/v1/images/{hit.id}/thumbnail" == hit.thumbnail
    assert hit.score == 1.0


@given(st.integers(1, 60), st.integers(2, 40), st.integers(0, 2**32 - 1))
def test_a_share_of_each_shard_nearly_always_holds_the_best(k: int, shards: int, seed: int) -> None:
    """However the k best are spread by chance, seldom a shard holds as many as it is asked for."""
    asked = hits_per_shard(k, shards)

    spread = np.random.default_rng(seed).multinomial(k, np.full(shards, 1 / shards), 2000)

    assert 1 <= asked <= k
    assert asked == k or (spread.max(axis=1) >= asked).mean() < 5 * SECOND_ASK_RATE


def test_one_shard_is_asked_for_everything() -> None:
    """A single shard has all of the k best."""
    assert [10, 1000] == [hits_per_shard(10, 1), hits_per_shard(1000, 1)]


@pytest.mark.parametrize(
    "record",
    [b"\xc1", b"\x91\xa1\xff", b"\x93\xa1a\x80" + b"\x91" * 5000 + b"\xc0"],
    ids=["no msgpack", "no UTF-8", "nested"],
)
def test_a_record_that_cannot_be_read_names_its_shard(record: bytes) -> None:
    """Whatever is wrong with it: the shard is left out, and the others answer."""
    broken = hits((0.9, 1, 0))
    broken.records[0] = msgspec.Raw(record)

    with pytest.raises(BrokenShard) as told:
        merge({0: hits((0.5, 2, 0)), 3: broken}, 5)
    assert 3 == told.value.shard
