"""A search server loads only the segments that it has not, and hides what a version has not."""

import json
from pathlib import Path

import numpy as np
import pytest

from common.wire import encode, pack_rows
from devtools.fake_clock import FakeClock
from prepare.rollback import roll_back
from search import exact
from search.index_versions import KEEP_OLD_S, IndexVersions
from search.log import Entry
from search.manifest import (
    MANIFEST,
    SEGMENTS,
    Current,
    Manifest,
    VersionRef,
    manifest_in_use,
    read_manifest,
    write_current,
)
from search.messages import Record
from search.segment import Segment
from search.version import load_version
from tests.chaos.damage import flip, index_file, reseal
from tests.prepare.vector_index import VECTORS, VectorIndex, check, key_of

BASE = 100


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> VectorIndex:
    """A hundred images in two shards, each with a base, as in a large index."""
    monkeypatch.setattr(exact, "MAX_COUNT", 0)
    index = VectorIndex(tmp_path, shards=2).add(range(BASE))
    index.build()
    return index


@pytest.fixture
def clock() -> FakeClock:
    """The clock of the versions."""
    return FakeClock()


@pytest.fixture
def held(index: VectorIndex, clock: FakeClock) -> IndexVersions:
    """Version 1 is loaded; nothing but the test looks for another."""
    one = IndexVersions(index.folders, range, 1.0, clock)
    one.refresh()
    return one


def segments(versions: IndexVersions) -> list[list[Segment]]:
    """The loaded segments of each shard of the version in use."""
    manifest, loaded = versions.newest().manifest, versions.newest().segments
    named = {key.name: segment for key, segment in loaded.items()}
    return [[named[one.name] for one in shard.segments] for shard in manifest.shards]


def files_of_bases(index: VectorIndex, manifest: Manifest) -> list[Path]:
    """The files of the graphs of the bases."""
    return [index_file(index.folders, manifest.version, number) for number in range(2)]


def test_what_is_loaded_is_not_loaded_again(index: VectorIndex, held: IndexVersions) -> None:
    """The new version shares the bases, though their files can no longer be read."""
    before = segments(held)
    manifest = index.add([BASE]).remove([5]).build()
    for path in files_of_bases(index, manifest):
        path.unlink()

    held.refresh()

    after = segments(held)
    assert held.newest().manifest == manifest
    assert [one[0]._ann for one in before] == [one[0]._ann for one in after]
    assert [1, 2] == sorted(map(len, after))
    check(held.newest(), index.years)


def test_segments_go_with_the_last_version_that_has_them(
    index: VectorIndex, held: IndexVersions, clock: FakeClock
) -> None:
    """A recent segment is in memory no longer than its version."""
    index.add([BASE]).build()
    held.refresh()
    index.add([BASE + 1]).build()
    held.refresh()
    kept = {name for version in held._versions for name in version.segments}
    clock.advance(KEEP_OLD_S + 1)
    held.refresh()
    left = {name for version in held._versions for name in version.segments}

    assert left < kept


def test_going_back_shows_what_was_hidden(index: VectorIndex, held: IndexVersions) -> None:
    """By the same segments; and forth again."""
    before = dict(index.years)
    index.remove([1, 2, 3]).add([4], year=2024).build()
    held.refresh()
    check(held.newest(), index.years)
    for years in (before, index.years):
        roll_back(index.folders)
        held.refresh()
        check(held.newest(), years)


def test_a_refused_version_hides_nothing(index: VectorIndex, held: IndexVersions) -> None:
    """The version before goes on with all its rows; the reason names both version and file."""
    years = dict(index.years)
    manifest = index.remove(range(5)).add([BASE]).build()
    recent = next(shard.segments[1] for shard in manifest.shards if len(shard.segments) > 1)
    flip(index.folders.index / SEGMENTS / recent.index.name, np.random.default_rng(0))

    held.refresh()

    assert held.refusal is not None
    assert f"{manifest.version}: " in held.refusal.reason
    assert recent.index.name in held.refusal.reason
    check(held.newest(), years)


@pytest.mark.parametrize("damage", ["gone", "flipped", "of another shard"])
def test_damaged_tombstones_are_refused(
    index: VectorIndex, held: IndexVersions, damage: str
) -> None:
    """Their file is checked like all others."""
    manifest = index.remove(range(5)).build()
    path = next((index.folders.index / manifest.version).glob("*.tombstones"))
    if damage == "gone":
        path.unlink()
    else:
        path.write_bytes(np.array([999], "<u4").tobytes() if damage != "flipped" else b"1234")

    held.refresh()

    assert held.refusal is not None
    assert path.name in held.refusal.reason


def test_what_the_log_deleted_stays_deleted(index: VectorIndex, held: IndexVersions) -> None:
    """An image that was deleted and put again is in the next version as it was in the base."""
    first = held.newest()
    record = encode(Record("5.jpg", {"year": 2000}))
    again = Entry("put", key_of(5), "space", pack_rows(VECTORS[5]), record)
    first.apply([(1, _delete(5)), (2, again), (3, _delete(6))])
    check(first, without(index.years, 6))
    index.remove([6]).build()
    second = load_version(index.folders, manifest_in_use(index.folders).named, range, [first])
    for version in (first, second):
        version.apply([(4, _delete(7))])
    check(first, without(index.years, 7))
    second.put_in_use()

    check(second, without(index.years, 7))
    for version in (first, second):
        version.apply([(5, _delete(5))])
        check(version, without(index.years, 5, 7))


def _delete(number: int) -> Entry:
    return Entry("delete", key_of(number)[:16])


def without(years: dict[int, int], *numbers: int) -> dict[int, int]:
    """The images but for some."""
    return {number: year for number, year in years.items() if number not in numbers}


def test_a_small_version_is_loaded_anew_once_it_is_large(
    index: VectorIndex, held: IndexVersions, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As small ones are searched exactly, and large ones by their graphs."""
    monkeypatch.setattr(exact, "MAX_COUNT", BASE)
    fresh = IndexVersions(index.folders, range, 1.0)
    fresh.refresh()
    index.add([BASE]).build()
    before = {one[0]._ann for one in segments(fresh)}
    fresh.refresh()

    assert before.isdisjoint(one[0]._ann for one in segments(fresh))


def test_an_index_of_an_earlier_release_is_told(index: VectorIndex) -> None:
    """By what is to be done; then prepare builds it anew, from the embeddings that are there."""
    path = index.folders.index / "v000001" / MANIFEST
    shards = json.loads(path.read_bytes())["shards"]
    digest = reseal(path, {"format": 5, "shards": [shard["segments"][0] for shard in shards]})
    write_current(index.folders, Current(VersionRef("v000001", digest)))
    versions = IndexVersions(index.folders, range, 1.0)
    versions.refresh()

    assert versions.refusal is not None
    assert "MANIFEST was made by another release: run prepare" in versions.refusal.reason
    assert "v000002" == index.build().version
    assert "v000003" == index.add([BASE]).build().version
    assert 2 == len(read_manifest(index.folders, "v000003").shards)
