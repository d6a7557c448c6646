"""The delta by itself: the order of browsing, counts, and look-ups, over several blocks."""

from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from itertools import pairwise

import numpy as np
import pytest

from common.wire import encode
from search import delta as module
from search.browse_messages import Listed, ValueCount
from search.delta import MAX_BLOCK, MIN_BLOCK, Delta
from search.fields import pack
from search.filter import Filter
from search.image_key import hashes_of
from search.messages import Fields, Record
from tests.changes import key

COUNT = 2 * MAX_BLOCK + 10
EVEN = Filter(field="parity", eq="even")


def filled() -> Delta:
    """Images of which some have a time; each fifth is then put again, and each seventh hidden."""
    delta = Delta()
    for number in range(COUNT):
        when = {"when": f"{number % 100:04}"} if number % 3 else {}
        put(delta, number, parity=("even", "odd")[number % 2], **when)
    for number in range(0, COUNT, 5):
        put(delta, number, parity="even", when="2000")
    delta.hide(np.arange(0, COUNT, 7))
    return delta


def put(delta: Delta, number: int, **metadata: str) -> None:
    record = encode(Record(f"{number}.jpg", {**metadata}))
    delta.put(key(number), np.ones(1, np.float32), record)


def all_of(delta: Delta, passing: Filter | None, limit: int) -> list[Listed]:
    """All pages."""
    found: list[Listed] = []
    while page := delta.browse(passing, found[-1].place if found else None, limit):
        found += page
    return found


def test_browsing_lists_each_image_once_in_order() -> None:
    """Page by page as all at once, with a filter and without; only the newest rows."""
    delta = filled()
    for tree in (None, EVEN):
        found = all_of(delta, tree, 100)
        assert found == all_of(delta, tree, 101)
        orders = [(image.when or "", -int(image.key[:16].hex(), 16)) for image in found]
        assert all(first > second for first, second in pairwise(orders))
        paths = [image.record.path for image in found]
        expected = {
            f"{number}.jpg"
            for number in range(COUNT)
            if number % 5 == 0 or (number % 7 and not (tree and number % 2))
        }
        assert (len(expected), expected) == (len(paths), set(paths))
    assert delta.count == len(all_of(delta, None, 100))


def test_values_are_counted_over_all_blocks() -> None:
    """Of the images that pass and are not hidden, also in a delta without any."""
    delta = filled()
    listed = all_of(delta, None, 1000)
    even = sum(image.record.metadata["parity"] == "even" for image in listed)
    counts = delta.counts(None, ["parity", "none"])

    assert (len(listed), []) == (counts.images, counts.fields[1])
    by_value = {value.value: value.count for value in counts.fields[0]}
    assert {"even": even, "odd": len(listed) - even} == by_value
    assert [[ValueCount("even", even)]] == delta.counts(EVEN, ["parity"]).fields
    assert (0, [[]]) == (
        Delta().counts(None, ["parity"]).images,
        Delta().counts(None, ["a"]).fields,
    )


def test_few_rows_are_packed_again_after_a_put(monkeypatch: pytest.MonkeyPatch) -> None:
    """A filter sees each put at once, and no search packs all those before it."""
    packed: list[int] = []

    def counted(records: Sequence[Record], fields: Fields) -> bytes:
        packed.append(len(records))
        return pack(records, fields)

    monkeypatch.setattr(module, "pack", counted)
    delta = Delta()
    for number in range(COUNT):
        put(delta, number, parity=("even", "odd")[number % 2])
        assert number // 2 + 1 == delta.counts(EVEN, []).images
    assert sum(packed) < MIN_BLOCK * COUNT


def test_an_image_is_found_by_the_start_of_its_id() -> None:
    """The oldest of those with this number that is not hidden."""
    delta = Delta()
    assert delta.find_number(0) is None
    for number in (64, 128, 1):
        put(delta, number)
    assert 0 == delta.find_number(0)
    delta.hide(np.array([0]))
    assert 1 == delta.find_number(0)
    assert 2 == delta.find_number(29 << 58 - 12)
    assert key(1) == delta.key(2)


class LookedAt(dict[bytes, int]):
    """The rows of ids; while one gets another row, another thread looks the image up."""

    def __init__(self, delta: Delta, pool: ThreadPoolExecutor) -> None:
        super().__init__(delta._row_of)
        self._delta, self._pool = delta, pool
        self.found: list[Future[int | None]] = []

    def __setitem__(self, image: bytes, row: int) -> None:
        looking = self._pool.submit(self._delta.find, *hashes_of(image))
        self.found.append(looking)
        wait([looking], 0.1)  # it must wait for the put
        super().__setitem__(image, row)


def test_an_image_that_is_put_again_is_always_there() -> None:
    """A look-up at any time finds its old row or its new one."""
    delta = Delta()
    put(delta, 1)
    with ThreadPoolExecutor() as pool:
        delta._row_of = looked_at = LookedAt(delta, pool)
        put(delta, 1)
        assert [1] == [looking.result() for looking in looked_at.found]
