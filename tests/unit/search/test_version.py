"""A version to which entries of the log are applied: it answers as brute force does."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from msgspec.structs import replace

from common.errors import Unavailable
from common.metrics import LOG_REFUSED
from common.wire import Matrix
from search.fields import MAX_FIELDS
from search.filter import Filter
from search.image_key import hashes_of, shard_of
from search.log import Entry
from search.messages import Hits, Record
from search.version import MAX_WAITING, Version, load_version
from tests.changes import Images, delete, key, patch, put
from tests.unit.indexing import folders_in, write_images

DIM, SHARDS = 8, 2
RANDOM = np.random.default_rng(0)
QUERIES = RANDOM.standard_normal((5, DIM)).astype(np.float32)
QUERIES /= np.linalg.norm(QUERIES, axis=1, keepdims=True)


def vector(random: np.random.Generator = RANDOM) -> Matrix:
    found: Matrix = random.standard_normal(DIM).astype(np.float32)
    return found / np.linalg.norm(found)


@pytest.fixture
def images() -> Images:
    """30 images, of which each third is red."""
    found = Images()
    for number in range(30):
        found.put(number, vector(), **({} if number % 3 else {"colour": "red"}))
    return found


@pytest.fixture
def version(tmp_path: Path, images: Images) -> Version:
    """A version with them in two shards."""
    folders = folders_in(tmp_path)
    records = {
        number: (key(number), image.vector, Record(f"{number}.jpg", image.metadata))
        for number, image in images.items()
    }
    named = write_images(folders, "v000001", list(records.values()), SHARDS).named
    return load_version(folders, named, range)


def apply(version: Version, *entries: Entry) -> None:
    """The entries that come next in the log."""
    version.apply(list(enumerate(entries, version.position + 1)))


def hits(version: Version, queries: Matrix, k: int, tree: Filter | None = None) -> list[Any]:
    """The paths and scores of the k nearest of each query in all shards, best first."""
    found: list[list[tuple[str, float]]] = [[] for _ in queries]
    for shard in version.shards.values():
        answers = shard.rank(queries, [k] * len(queries), 64, 1, tree).hits()
        for merged, answer in zip(found, answers, strict=True):
            merged.extend(zip(paths(answer), np.frombuffer(answer.scores, "<f4"), strict=True))
    return [sorted(merged, key=lambda hit: -hit[1])[:k] for merged in found]


def paths(answer: Hits) -> list[str]:
    return [msgspec.msgpack.decode(record, type=Record).path for record in answer.records]


def check(version: Version, images: Images) -> None:
    """Searches with and without a filter, and look-ups, find these images and no other."""
    red = Filter(field="colour", eq="red")
    for k in (1, 7, 100):
        for tree, fields in ((None, {}), (red, {"colour": "red"})):
            for query, found in zip(QUERIES, hits(version, QUERIES, k, tree), strict=True):
                expected = images.nearest(query, k, **fields)
                assert [path for path, _ in expected] == [path for path, _ in found]
                scores = [score for _, score in expected]
                np.testing.assert_allclose([score for _, score in found], scores, atol=1e-5)
    for number in range(60):
        content, location = hashes_of(key(number))
        image = version.shards[shard_of(content, SHARDS)].find(content, location)
        assert (number in images) == (image is not None)
        if image is not None:
            assert images[number].metadata == image.part.record(image.row).metadata
            np.testing.assert_array_equal(images[number].vector, image.part.vector(image.row))
    assert len(images) == sum(shard.count for shard in version.shards.values())


@pytest.mark.parametrize("seed", range(4))
def test_random_changes_are_answered_as_by_brute_force(
    version: Version, images: Images, seed: int
) -> None:
    """Puts of new and of known images, patches and deletes, of images that are not there, too."""
    random = np.random.default_rng(100 + seed)
    check(version, images)
    for _ in range(12):
        entries = []
        for number in random.integers(0, 60, 8).tolist():
            colour = ("red", "blue", None)[random.integers(3)]
            known = {"colour": colour} if colour else {}
            changes = (
                partial(images.put, number, vector(random), **known),
                partial(images.patch, number, colour=colour, year=number),
                partial(images.delete, number),
            )
            entries.append(changes[random.integers(3)]())
        apply(version, *entries)
        check(version, images)


def test_more_than_a_block_of_puts_is_searched(version: Version, images: Images) -> None:
    """So that the arrays of the delta grow, and its columns have several blocks."""
    for number in range(30, 1400):
        known = {"colour": "red"} if number % 7 == 0 else {}
        apply(version, images.put(number, vector(), **known))
    red = Filter(field="colour", eq="red")
    for k in (1, 50, 2000):
        for query, found in zip(QUERIES, hits(version, QUERIES, k, red), strict=True):
            expected = images.nearest(query, k, colour="red")
            assert [path for path, _ in expected] == [path for path, _ in found]


def test_an_image_goes_into_the_shard_that_the_manifest_means(version: Version) -> None:
    """Where look-ups search for it: by a range of its content hash, or by the remainder."""
    manifest = replace(version.manifest, sharding="modulo")
    contents = {number: hashes_of(key(number))[0] for number in range(40, 99)}
    number = next(
        number
        for number, content in contents.items()
        if shard_of(content, SHARDS) < shard_of(content, SHARDS, "modulo")
    )
    content, location = hashes_of(key(number))
    other = Version(manifest, version.shards)
    apply(other, put(number, vector()))
    assert other.shards[1].find(content, location)
    apply(other, delete(number))
    assert not other.shards[1].find(content, location)


def test_fields_of_puts_and_patches_are_known(version: Version) -> None:
    """Of each kind that a value had, whichever shard the image is in."""
    changes = put(40, vector(), size=5), patch(0, size="large", colour=None), patch(99, a=True)
    apply(version, *changes)

    assert ["number", "text"] == version.fields["size"]
    assert ["boolean"] == version.fields["a"]
    assert ["text"] == version.fields["colour"] == version.manifest.fields["colour"]
    assert "size" not in version.manifest.fields


def test_a_filter_sees_each_put_whatever_is_put_beside_it(version: Version) -> None:
    """Also where the images put together have more fields than an index: known ones come first."""
    apply(version, put(40, vector(), private=True))
    labels: dict[str, Any] = {f"a_{number:02}": number for number in range(MAX_FIELDS)}
    apply(version, *(put(number, vector(), **labels) for number in (41, 42)))
    private = Filter(field="private", eq=True)
    asked = private, Filter(field="private", exists=True), Filter(not_=private)
    found, known, others = (
        {path for path, _ in hits(version, QUERIES[:1], 100, tree)[0]} for tree in asked
    )

    assert len(version.fields) == MAX_FIELDS
    assert {"40.jpg"} == found == known
    assert {"41.jpg", "42.jpg"} < others
    assert "40.jpg" not in others
    counts = [shard.counts(private, ["private"]).images for shard in version.shards.values()]
    assert [0, 1] == sorted(counts)


@pytest.mark.parametrize(
    "bad",
    [
        put(40, vector(), space="other"),
        put(40, 2 * vector()),
        put(40, vector()[:4]),
        put(40, np.full(DIM, np.nan, np.float32)),
        Entry("put", key(40)[:16], "space", put(40, vector()).vector, b"\x91\xa1a"),
        Entry("put", key(40), "space", put(40, vector()).vector, b"\xc1"),
        Entry("patch", key(0)[:16], record=b"\xc1"),
    ],
)
def test_what_cannot_be_applied_is_left_out(version: Version, images: Images, bad: Entry) -> None:
    """And counted; what comes after it is applied."""
    before = LOG_REFUSED._value.get()
    apply(version, bad, images.delete(1))

    check(version, images)
    assert 2 == version.position
    assert before + 1 == LOG_REFUSED._value.get()


def test_a_search_beside_changes_finds_each_image_once(version: Version, images: Images) -> None:
    """While images are put, patched and put again, none is missing and none is there twice."""
    done = threading.Event()
    expected = sorted(f"{number}.jpg" for number in images)

    def ask() -> int:
        searches = 0
        while not done.is_set():
            (found,) = hits(version, QUERIES[:1], 100)
            assert expected == sorted(path for path, _ in found)
            content, location = hashes_of(key(searches % 30))
            assert version.shards[shard_of(content, SHARDS)].find(content, location)
            searches += 1
        return searches

    with ThreadPoolExecutor() as pool:
        asking = [pool.submit(ask) for _ in range(2)]
        for number in range(600):
            change = partial(put, vector=vector()) if number % 2 else partial(patch, year=number)
            apply(version, change(number % 30))
        done.set()
        assert all(future.result() for future in asking)


def test_a_position_is_waited_for(version: Version) -> None:
    """As long as it may come; then the server is behind."""
    with ThreadPoolExecutor() as pool:
        waiting = pool.submit(version.wait_for, 2, time.monotonic() + 60)
        apply(version, delete(0))
        apply(version, delete(1))
        waiting.result()
        with pytest.raises(Unavailable, match="up to 2, not 3") as raised:
            version.wait_for(3, time.monotonic() + 0.1)
        assert "behind" == raised.value.code
        version.wait_for(2, 0)

        stuck = [pool.submit(version.wait_for, 9, time.monotonic() + 60) for _ in range(9)]
        refused = [future.exception() for future in stuck[MAX_WAITING:]]
        version.stop("it is over")
        assert all(isinstance(future.exception(), Unavailable) for future in stuck)
        assert all(isinstance(error, Unavailable) for error in refused)
