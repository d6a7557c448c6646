"""Browsing and counting in parts of a shard: as plain Python does it in all images."""

import random
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from common.errors import BadRequest
from search.ann_index import Mask
from search.browse_messages import (
    MAX_COUNTED,
    Counts,
    Listed,
    Place,
    is_in_order,
    merge_counts,
    merge_listed,
)
from search.columns import Columns
from search.fields import fields_of_index, fields_of_record, kind_of, pack
from search.image_key import IMAGE_KEY, Keys
from search.messages import Record
from search.newest import BLOCK, Newest

TIMES = [None, "", "2024", "2024-05-01T10:00:00", "2024-05-01T10:00:00+02:00", "2025-01-01", "é"]
VALUES: list[Any] = ["a", "b", "1", "", 1, 1.5, 2, True, False, None]


class Part:
    """Some images, in any order, as a segment or a delta has them."""

    def __init__(self, keys: Keys, records: Sequence[Record], rows: Sequence[int]) -> None:
        self.records = [records[row] for row in rows]
        self.keys = keys[list(rows)]
        self.columns = Columns(pack(self.records, fields_of_index(records)), len(rows))
        self.newest = Newest(self.columns.texts("when"), self.keys)

    def page(self, after: Place | None, limit: int, mask: Mask | None) -> list[Listed]:
        rows = self.newest.page(after, limit, mask)
        return [self.newest.listed(row, self.records[row]) for row in rows.tolist()]


def images(count: int, chance: random.Random) -> tuple[Keys, list[Record]]:
    """Images of few times and values, some without."""
    keys = np.zeros(count, IMAGE_KEY)
    keys["content"] = [chance.getrandbits(64) for _ in range(count)]
    keys["location"] = [chance.getrandbits(2) for _ in range(count)]
    keys["content"][1::7] = keys["content"][0]  # copies
    keys["location"][1::7] = range(9, 9 + len(keys[1::7]))
    return keys, [
        Record(f"{n}.jpg", {"when": chance.choice(TIMES), "tag": chance.choice(VALUES)})
        for n in range(count)
    ]


def parts_of(keys: Keys, records: list[Record], chance: random.Random) -> list[Part]:
    rows = list(range(len(keys)))
    chance.shuffle(rows)
    cut = len(rows) // 3
    return [Part(keys, records, rows[:cut]), Part(keys, records, rows[cut:])]


def expected(keys: Keys, records: list[Record], rows: Sequence[int]) -> list[str]:
    """The paths of some images in order."""
    by_id = sorted(rows, key=lambda row: keys[row].tobytes()[:16])
    timed = [row for row in by_id if records[row].metadata["when"] is not None]
    timed.sort(key=lambda row: str(records[row].metadata["when"]), reverse=True)
    untimed = [row for row in by_id if records[row].metadata["when"] is None]
    return [records[row].path for row in [*timed, *untimed]]


@pytest.mark.parametrize("share", [None, 0.5, 0.01])
def test_pages_of_all_parts_are_all_images_in_order(share: float | None) -> None:
    """Those that pass, each once, over many pages; also where few pass."""
    chance = random.Random(1)
    keys, records = images(4 * BLOCK, chance)
    parts = parts_of(keys, records, chance)
    wanted = [n for n in range(len(keys)) if share is None or chance.random() < share]
    paths = {records[row].path for row in wanted}
    masks = [np.array([one.path in paths for one in part.records]) for part in parts]
    found: list[Listed] = []
    after = None
    while True:
        limit = 1000 if len(found) > 20 else chance.choice([1, 2, 7])
        lists = [
            part.page(after, limit, None if share is None else mask)
            for part, mask in zip(parts, masks, strict=True)
        ]
        page = merge_listed(lists, limit)
        found += page
        if len(page) < limit:
            break
        after = page[-1].place

    assert expected(keys, records, wanted) == [one.record.path for one in found]
    assert is_in_order([one.place for one in found])
    assert not is_in_order([found[1].place, found[0].place])
    assert not is_in_order([found[0].place] * 2)


def test_a_place_stays_valid_when_its_image_is_gone() -> None:
    """Also when no image has its time any more, or it comes before or after all."""
    chance = random.Random(2)
    keys, records = images(200, chance)
    (whole,) = [Part(keys, records, range(200))]
    order = whole.page(None, 200, None)
    for cut in range(0, 200, 7):
        rows = [n for n in range(200) if n % 2 == cut % 2]
        times = {order[cut].when} if cut % 3 else set()
        rows = [n for n in rows if records[n].metadata["when"] not in times]
        left = {records[n].path for n in rows}
        page = Part(keys, records, rows).page(order[cut].place, 200, None)
        behind = [one.record.path for one in order[cut + 1 :] if one.record.path in left]
        assert behind == [one.record.path for one in page]
    first, last = Place("\U0010ffff", bytes(16)), Place(None, b"\xff" * 16)
    assert (200, 0) == (len(whole.page(first, 999, None)), len(whole.page(last, 999, None)))


def test_values_are_counted_over_all_parts() -> None:
    """Of each kind by itself, as 1 and true are equal in Python; a field that is nowhere, too."""
    chance = random.Random(4)
    keys, records = images(500, chance)
    parts = parts_of(keys, records, chance)
    masks = [np.array([chance.random() < 0.7 for _ in part.records]) for part in parts]
    for chosen in (masks, [None, None]):
        pairs = list(zip(parts, chosen, strict=True))
        total = merge_counts(
            part.columns.counts(["tag", "none", "when"], mask) for part, mask in pairs
        )
        told = [
            record
            for part, mask in pairs
            for n, record in enumerate(part.records)
            if mask is None or mask[n]
        ]
        assert len(told) == total.images
        for counts, name in zip(total.fields, ["tag", "none", "when"], strict=True):
            values = [fields_of_record(record).get(name) for record in told]
            wanted = Counter((kind_of(value), value) for value in values if value is not None)
            assert wanted == {(kind_of(one.value), one.value): one.count for one in counts}
            assert len(wanted) == len(counts)
    assert Counts(0, []) == merge_counts([])


def test_too_many_values_are_not_counted() -> None:
    """As they would be the whole index; a filter makes them fewer."""
    records = [Record("x", {"n": n}) for n in range(MAX_COUNTED + 1)]
    columns = Columns(pack(records, fields_of_index(records)), len(records))
    with pytest.raises(BadRequest, match="'n' has more than 10000 values"):
        columns.counts(["n"])
    few = np.arange(len(records)) < MAX_COUNTED
    assert MAX_COUNTED == len(columns.counts(["n"], few).fields[0])


def test_a_part_without_images_or_times_is_listed() -> None:
    """Without images it is empty; of an index that was built before there were times, by id."""
    keys = np.zeros(3, IMAGE_KEY)
    keys["content"] = [3, 1, 2]
    whens = Columns(b"", 3).texts("when")
    assert [1, 2, 0] == Newest(whens, keys).page(None, 5).tolist()
    assert [] == Newest(Columns(b"", 0).texts("when"), keys[:0]).page(Place(None, b""), 5).tolist()


def test_copies_are_in_order_of_their_paths() -> None:
    """Also where only they are out of order."""
    keys = np.zeros(3, IMAGE_KEY)
    keys["content"], keys["location"] = [1, 1, 2], [5, 3, 1]
    assert [1, 0, 2] == Newest(Columns(b"", 3).texts("when"), keys).page(None, 5).tolist()
