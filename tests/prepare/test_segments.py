"""What a new version takes over from the version before: in a large index, nearly everything."""

from pathlib import Path

import numpy as np
import pytest

from prepare.chunks import Chunk, EmbeddingFolder, Row
from prepare.rollback import roll_back
from prepare.shard_plans import COMPACTED, MAX_RECENT, MAX_TOMBSTONES
from search import exact
from search.manifest import SEGMENTS, Manifest, files_of, read_manifest, version_names
from tests.chaos.damage import flip, index_file
from tests.prepare.vector_index import VECTORS, VectorIndex, content_of

BASE = 100


@pytest.fixture(autouse=True)
def _every_index_is_large(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also one of few images."""
    monkeypatch.setattr(exact, "MAX_COUNT", 0)


@pytest.fixture
def index(tmp_path: Path) -> VectorIndex:
    """A hundred images in one shard, not built yet."""
    return VectorIndex(tmp_path).add(range(BASE))


def names(manifest: Manifest) -> list[list[str]]:
    """The segments of each shard, by name."""
    return [[segment.name for segment in shard.segments] for shard in manifest.shards]


def counts(manifest: Manifest) -> list[tuple[list[int], int]]:
    """The rows of the segments of each shard, and how many of them are images."""
    return [([one.count for one in shard.segments], shard.count) for shard in manifest.shards]


def test_a_new_image_makes_a_small_segment(index: VectorIndex) -> None:
    """The base stays as it is; the recent segment is built anew with all that came since."""
    first = index.build()
    second = index.add([BASE]).build()
    third = index.add([BASE + 1]).build()

    assert [([BASE], BASE)] == counts(first)
    assert [([BASE, 1], BASE + 1)] == counts(second)
    assert [([BASE, 2], BASE + 2)] == counts(third)
    bases = {shards[0][0] for shards in map(names, (first, second, third))}
    assert 1 == len(bases)
    assert third.recall.value == 1
    linked_once = [one.distinct is not None for one in third.shards[0].segments]
    assert linked_once == [True, True]


def test_regions_make_rows_anew(index: VectorIndex) -> None:
    """Of the images that have got some; without them, the rows of the base count again."""
    first = index.build()
    content = [content_of(number) for number in range(10)]
    rows = [Row("a.jpg", 1, 0, one, "0", region=(0, 0, 0.5, 1)) for one in content]
    folder = EmbeddingFolder(index.loaded.path(index.loaded.config.prepare.embedding_dir))
    folder.write(2, Chunk(VECTORS[:10], rows, []), "model", "space grid")
    with_regions = VectorIndex(index.root, regions="grid").add(range(BASE))
    second = with_regions.build()

    assert [([BASE, 10], BASE)] == counts(second)
    assert 10 == second.regions
    assert names(second) == names(with_regions.add([BASE - 1], year=2000).build())
    assert names(first) == names(index.build())
    assert names(second) == names(with_regions.build())


def test_what_is_removed_makes_tombstones_alone(index: VectorIndex) -> None:
    """In the base and in the recent segment; nothing is built."""
    index.build()
    before = index.add(range(BASE, BASE + 10)).build()
    after = index.remove([3, 50, BASE + 4]).build()

    assert names(before) == names(after)
    assert [([BASE, 10], BASE + 7)] == counts(after)
    assert after.shards[0].tombstones is not None
    assert 3 * 4 == after.shards[0].tombstones.size_bytes


def test_changed_metadata_makes_a_tombstone_and_a_row(index: VectorIndex) -> None:
    """And changed back, the row of the base counts again."""
    first = index.build()
    second = index.add([7], year=2024).build()
    third = index.add([7], year=2000).build()

    assert [([BASE, 1], BASE)] == counts(second)
    assert names(first)[0][0] == names(second)[0][0]
    assert names(first) == names(third)
    assert third.shards[0].tombstones is None


def test_a_shard_that_has_grown_is_compacted(index: VectorIndex) -> None:
    """At a fifth of its base, not before."""
    index.build()
    few = int(MAX_RECENT * BASE) - 1
    assert [([BASE, few], BASE + few)] == counts(index.add(range(BASE, BASE + few)).build())
    grown = BASE + few + 1
    assert [([grown], grown)] == counts(index.add([BASE + few]).build())


def test_a_shard_of_many_tombstones_is_compacted(index: VectorIndex) -> None:
    """At three in ten rows, not before; in a recent segment, that alone is built anew."""
    index.build()
    few = round(MAX_TOMBSTONES * BASE) - 1
    assert [([BASE], BASE - few)] == counts(index.remove(range(few)).build())
    assert [([BASE - few - 1], BASE - few - 1)] == counts(index.remove([few]).build())
    index.add(range(BASE, BASE + 10)).build()
    left = index.remove(range(BASE, BASE + 4)).build()
    assert [([BASE - few - 1, 6], BASE - few + 5)] == counts(left)
    assert 1 == len(counts(index.remove(range(BASE + 4, BASE + 10)).build())[0][0])


def test_a_version_compacts_few_shards(tmp_path: Path) -> None:
    """So servers need no memory for twice the index: an eighth of them, the most in need first."""
    index = VectorIndex(tmp_path, shards=16).add(range(200))
    first = index.build()
    second = index.add(range(200, 280)).build()

    kept = [names(first)[i][0] == names(second)[i][0] for i in range(16)]
    assert 16 // COMPACTED == kept.count(False)
    compacted = [new for new, stays in zip(counts(second), kept, strict=True) if not stays]
    assert all(len(segments) == 1 for segments, _ in compacted)


def test_a_recent_segment_never_outgrows_its_base(tmp_path: Path) -> None:
    """However many shards that are: two such segments are no less to load than one base."""
    index = VectorIndex(tmp_path, shards=8).add(range(20))
    index.build()
    assert all(len(rows) == 1 for rows, _ in counts(index.add(range(20, 400)).build()))


def test_any_changes_in_any_order(tmp_path: Path) -> None:
    """Each version holds what it must, and the folders hold the files of the kept versions."""
    chance = np.random.default_rng(0)
    index = VectorIndex(tmp_path, shards=3).add(range(200))
    for step in range(20):
        there = sorted(index.years)
        some = chance.choice(there, int(chance.integers(0, 12)), replace=False).tolist()
        index.remove(some[: len(some) // 2]).add(some[len(some) // 2 :], year=step)
        index.add(chance.integers(0, 400, chance.integers(0, 12)).tolist()).build()
        if step % 6 == 5:
            roll_back(index.folders)
    folders = index.folders
    manifests = [read_manifest(folders, name) for name in version_names(folders.index)]
    named = {
        folder / file.name for manifest in manifests for folder, file in files_of(folders, manifest)
    }
    found = {path for one in folders.all() for path in one.glob(f"{SEGMENTS}/*")}
    assert found == {path for path in named if path.parent.name == SEGMENTS}


def test_a_damaged_segment_is_not_taken_over(index: VectorIndex) -> None:
    """Its shard is built anew, and no other one."""
    index = VectorIndex(index.root, shards=2).add(range(BASE))
    before = index.build()
    flip(index_file(index.folders, before.version, 1), np.random.default_rng(0))

    after = index.add([BASE]).build()

    assert names(before)[0][0] == names(after)[0][0]
    assert names(before)[1][0] != names(after)[1][0]


def test_other_settings_take_nothing_over(index: VectorIndex) -> None:
    """Other links, another kind of index or number of shards is a new index."""
    before = index.build()
    seen = set(names(before)[0])
    for changed in (VectorIndex(index.root, M=8), VectorIndex(index.root, shards=2)):
        made = {name for shard in names(changed.add(range(BASE)).build()) for name in shard}
        assert seen.isdisjoint(made)
        seen |= made


def test_small_indexes_have_one_segment_a_shard(
    index: VectorIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As they are searched exactly, and built at once; a shard without a change stays."""
    monkeypatch.setattr(exact, "MAX_COUNT", 1000)
    index = VectorIndex(index.root, shards=8).add(range(BASE))
    before = index.build()
    after = index.add([BASE]).build()

    assert all(len(shard) == 1 for shard in names(after))
    changed = [one != other for one, other in zip(names(before), names(after), strict=True)]
    assert 1 == changed.count(True)
    assert all(shard.tombstones is None for shard in after.shards)


def test_another_index_may_share_folders(index: VectorIndex) -> None:
    """No run deletes the files of an index that it does not know."""
    index.build()
    other = VectorIndex(index.root, index_dir="other").add(range(BASE))
    other.build()
    for number in range(BASE, BASE + 3):
        other.add([number]).build()
        index.add([number]).build()
    other.add([BASE + 3]).build()
    index.add([BASE + 3]).build()
