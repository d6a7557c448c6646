"""The parts of a shard as one: merged by score, and of an image its newest row."""

import struct
from collections.abc import Callable
from functools import partial

import msgspec
import numpy as np
import pytest

from common.errors import BadRequest
from common.wire import Matrix
from search.ann_index import Numbers
from search.browse_messages import Place
from search.columns import Columns
from search.exact import Exact
from search.fields import fields_of_index, pack
from search.filter import Filter
from search.image_key import IMAGE_KEY
from search.messages import Hits, Record
from search.segment import Segment
from search.shard import Part, Shard

VECTORS = np.random.default_rng(0).standard_normal((40, 8)).astype(np.float32)
VECTORS /= np.linalg.norm(VECTORS, axis=1, keepdims=True)


def segment(numbers: list[int], name: str = "", vectors: Matrix = VECTORS) -> Segment:
    """Image i has the vector i; its path is i and the name."""
    keys = np.zeros(len(numbers), IMAGE_KEY)
    keys["content"] = numbers
    packed = [msgspec.msgpack.encode(Record(f"{number}{name}")) for number in numbers]
    offsets = np.cumsum([0, *map(len, packed)])
    columns = Columns(b"", len(numbers))
    return Segment(Exact(vectors[numbers]), keys, b"".join(packed), offsets, columns)


def image_key(number: int) -> bytes:
    return struct.pack(">3Q", number, 0, 0)


def found(shard: Shard | Part, k: int, queries: Matrix = VECTORS[:3]) -> list[list[str]]:
    """The paths of the k best of each query."""
    return [paths(hits) for hits in shard.rank(queries, [k] * len(queries), 64, 1).hits()]


def paths(hits: Hits) -> list[str]:
    assert len(hits.scores) == 4 * len(hits.records)
    assert len(hits.keys) == 24 * len(hits.records)
    return [msgspec.msgpack.decode(record, type=Record).path for record in hits.records]


@pytest.mark.parametrize("cuts", [[20], [0], [40], [1, 2, 39], [10, 10, 10]])
@pytest.mark.parametrize("k", [1, 10, 100])
def test_several_parts_answer_as_one(cuts: list[int], k: int) -> None:
    """However the images are dealt to them, also to parts without any."""
    parts = [segment(part.tolist()) for part in np.split(np.arange(40), cuts)]

    assert found(segment(list(range(40))), k) == found(Shard(parts), k)
    assert 40 == Shard(parts).count


def test_queries_have_their_own_k() -> None:
    """As in a segment."""
    shard = Shard([segment([0, 1, 2]), segment([3, 4])])
    hits = shard.rank(VECTORS[:3], [1, 4, 9], 64, 1).hits()

    assert [1, 4, 5] == [len(query.records) for query in hits]


def test_of_an_image_in_two_parts_the_newest_counts() -> None:
    """Its score and its record, also where the old row would be better."""
    moved = VECTORS.copy()
    moved[0] = -VECTORS[0]
    shard = Shard([segment([0, 1, 2]), segment([3], "-new"), segment([0], "-new", moved)])

    assert "0-new" == found(shard, 4, VECTORS[:1])[0][-1]
    assert ["0-new"] == found(shard, 1, -VECTORS[:1])[0]
    assert 4 == len(found(shard, 9, VECTORS[:1])[0])
    image = shard.find(0, 0)
    assert image is not None
    assert "0-new" == image.part.record(image.row).path
    assert (image.part.vector(image.row) == -VECTORS[0]).all()
    assert shard.find(5, 0) is None
    number = shard.find_number(0)
    assert number is not None
    assert number.part is shard.parts[2]
    assert shard.find_number(1) is None


class Replaced(Shard):
    """A shard in which image 0 gets the opposite vector; `meanwhile` is done between the steps."""

    def replace(self, meanwhile: Callable[[], object]) -> None:
        segment, hide = self.parts[0], self.parts[0].hide

        def after(rows: Numbers) -> None:
            meanwhile()
            hide(rows)
            meanwhile()

        segment.hide = after  # type: ignore[method-assign]
        self.put(image_key(0), -VECTORS[0], msgspec.msgpack.encode(Record("0-new")))
        segment.hide = hide  # type: ignore[method-assign]


@pytest.fixture
def replaced() -> Replaced:
    """Images 0, 1 and 2 in a segment, and 3 in the delta, far from the others."""
    shard = Replaced([segment([0, 1, 2])])
    shard.put(image_key(3), -VECTORS[0], msgspec.msgpack.encode(Record("3")))
    return shard


def test_between_the_steps_of_a_put_an_image_is_found_once(replaced: Replaced) -> None:
    """By search and look-up: the new row is there before the old one is hidden."""
    seen = []

    def look() -> None:
        seen.append((len(found(replaced, 9)[0]), replaced.find(0, 0) is not None))

    replaced.replace(look)
    assert [(4, True)] * 2 == seen


@pytest.mark.parametrize("asked", ["rank", "find"])
def test_a_put_beside_a_search_hides_no_image_from_it(
    replaced: Replaced, asked: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Done when the search has asked one part and not yet the other."""
    changes = [partial(replaced.replace, list)]

    def then_change(method: Callable[..., object]) -> Callable[..., object]:
        def ask(*args: object) -> object:
            answer = method(*args)
            while changes:
                changes.pop()()
            return answer

        return ask

    for part in replaced.parts:
        monkeypatch.setattr(part, asked, then_change(getattr(part, asked)))
    if asked == "rank":  # the old row must not take the place of one of the two best
        (paths,) = found(replaced, 2, VECTORS[:1])
        assert {"1", "2"} == set(paths)
    else:
        assert replaced.find(0, 0) is not None
    assert not changes


def test_a_shard_without_images_finds_none() -> None:
    """Neither one without parts."""
    for shard in (Shard([]), Shard([segment([])]), Shard([segment([]), segment([])])):
        assert [[], [], []] == found(shard, 5)
        assert shard.find(0, 0) is None
        assert 0 == shard.count


def timed(numbers: list[int], times: list[str], name: str = "") -> Segment:
    """Image i has a time; its path is i and the name."""
    keys = np.zeros(len(numbers), IMAGE_KEY)
    keys["content"] = numbers
    records = [
        Record(f"{number}{name}", facts={"modified": time})
        for number, time in zip(numbers, times, strict=True)
    ]
    packed = [msgspec.msgpack.encode(record) for record in records]
    columns = Columns(pack(records, fields_of_index(records)), len(numbers))
    offsets = np.cumsum([0, *map(len, packed)])
    return Segment(Exact(VECTORS[numbers]), keys, b"".join(packed), offsets, columns)


def test_parts_are_browsed_and_counted_as_one() -> None:
    """Without what is hidden; a filter counts in each part."""
    shard = Shard([timed([0, 1, 2], ["2020", "2022", "2024"]), timed([3, 4], ["2021", "2023"])])
    assert ["2", "4", "1", "3", "0"] == listed(shard, 9)
    first = shard.browse(None, None, 2)
    assert ["1", "3"] == listed(shard, 2, first[-1].place)
    assert (5, 5) == ((all_of := shard.counts(None, ["when"])).images, len(all_of.fields[0]))

    shard.parts[0].hide(np.array([1]))
    assert ["2", "4", "3", "0"] == listed(shard, 9)
    since = Filter(field="when", gte="2023")
    assert ["2", "4"] == [image.record.path for image in shard.browse(since, None, 9)]
    counts = shard.counts(since, ["when"])
    assert (2, {("2024", 1), ("2023", 1)}) == (
        counts.images,
        {(found.value, found.count) for found in counts.fields[0]},
    )


def test_values_are_counted_as_far_as_a_reply_may_have_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """All parts together: middle would take a longer reply for a fault of the server."""
    shard = Shard([timed([0, 1, 2], ["2020", "2022", "2024"]), timed([3, 4], ["2021", "2023"])])
    for module in ("columns", "shard"):
        monkeypatch.setattr(f"search.{module}.MAX_COUNTED", 4)
    with pytest.raises(BadRequest, match="'when' has more than"):
        shard.counts(None, ["when"])


def test_of_an_image_that_is_listed_twice_the_newest_counts() -> None:
    """As one that is put anew is, for a moment."""
    shard = Shard([timed([0, 1], ["2024", "2023"]), timed([0, 2], ["2022", "2021"], "new")])
    assert ["1", "0new", "2new"] == listed(shard, 9)


def listed(shard: Shard, limit: int, after: Place | None = None) -> list[str]:
    return [image.record.path for image in shard.browse(None, after, limit)]
