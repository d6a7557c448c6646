"""Filters: each tree finds what a plain Python filter finds."""

import random
from typing import Any

import msgspec
import numpy as np
import pytest

from common.errors import BadRequest
from search.columns import Columns
from search.fields import fields_of_index, fields_of_record, kind_of, pack
from search.filter import MAX_DEPTH, Filter, check_fields, check_filter
from search.messages import Record

TREES = 1000
VALUES = ["", "a", "ab", "b", "é", "1", 0, 1, -3, 2.5, 2.0**53, 2**63, True, False]


def records(count: int, seed: int) -> list[Record]:
    """Images with fields of one and of several kinds, some without."""
    chance = random.Random(seed)
    return [
        Record(
            f"/photos/{chance.choice(['2023', '2024/may'])}/{row}.{chance.choice(['JPG', 'png'])}",
            {
                name: chance.choice(values)
                for name, values in {
                    "any": [*VALUES, None],
                    "price": [*range(10), 0.5, None],
                    "tag": ["cat", "car", "dog", None],
                }.items()
                if chance.random() < 0.9
            },
            len("/photos/"),
        )
        for row in range(count)
    ]


def tree(chance: random.Random, depth: int) -> Filter:
    """A random filter."""
    if depth and chance.random() < 0.6:
        node = chance.choice(["and", "or", "not"])
        if node == "not":
            return Filter(not_=tree(chance, depth - 1))
        parts = tuple(tree(chance, depth - 1) for _ in range(chance.randint(1, 3)))
        return Filter(and_=parts) if node == "and" else Filter(or_=parts)
    field = chance.choice(["any", "price", "tag", "path", "folder", "format", "offline", "none"])
    values = [*VALUES, "cat", "jpg", "2024/may", "2023/1", 5]
    ordered = [value for value in values if not isinstance(value, bool)]
    low = chance.choice(ordered)
    high = chance.choice([v for v in ordered if isinstance(v, str) == isinstance(low, str)])
    tests: list[dict[str, Any]] = [
        {"eq": chance.choice(values)},
        {"ne": chance.choice(values)},
        {"in_": tuple(chance.sample(values, 3))},
        {"exists": chance.random() < 0.5},
        {"prefix": chance.choice(["", "2024", "c", "é"])},
        {"gt": low, "lte": high},
        {"gte": low, "lt": high},
        {chance.choice(["gt", "gte", "lt", "lte"]): low},
    ]
    return Filter(field=field, **chance.choice(tests))


def passes(node: Filter, record: Record) -> bool:
    """What the filter means, in plain Python."""
    if node.not_ is not None:
        return not passes(node.not_, record)
    if node.and_ is not None:
        return all(passes(part, record) for part in node.and_)
    if node.or_ is not None:
        return any(passes(part, record) for part in node.or_)
    value: Any = fields_of_record(record).get(node.field or "")
    if node.exists is not None:
        return (value is not None) == node.exists
    if value is None:
        return False
    if node.ne is not None:
        return not _same(value, node.ne)
    if node.eq is not None:
        return _same(value, node.eq)
    if node.in_ is not None:
        return any(_same(value, one) for one in node.in_)
    if node.prefix is not None:
        return isinstance(value, str) and value.startswith(node.prefix)
    bounds: list[Any] = [b for b in (node.gt, node.gte, node.lt, node.lte) if b is not None]
    return kind_of(value) == kind_of(bounds[0]) and all(
        [
            node.gt is None or value > node.gt,
            node.gte is None or value >= node.gte,
            node.lt is None or value < node.lt,
            node.lte is None or value <= node.lte,
        ]
    )


def _same(one: object, other: object) -> bool:
    return kind_of(one) == kind_of(other) and one == other


def columns(rows: list[Record]) -> Columns:
    return Columns(pack(rows, fields_of_index(rows)), len(rows))


def test_a_thousand_random_filters_find_what_plain_python_finds() -> None:
    """Trees of all tests, over fields of several kinds, and of none."""
    rows = records(300, 0)
    found = columns(rows)
    chance = random.Random(1)
    sizes = set()
    for _ in range(TREES):
        asked = check_filter(tree(chance, 3))
        mask = found.passing(asked)
        assert mask.tolist() == [passes(asked, row) for row in rows], msgspec.json.encode(asked)
        sizes.add(int(mask.sum()))
    assert len(sizes) > 50  # not all of them, and none, each time


def test_whole_numbers_are_compared_as_such() -> None:
    """Past 2**53 a float would take neighbours for one."""
    rows = [Record(str(n), {"n": n}) for n in (2**53, 2**53 + 1, 2**53 + 2)]
    found = columns(rows)

    assert [False, True, False] == found.passing(Filter(field="n", eq=2**53 + 1)).tolist()
    assert [False, False, True] == found.passing(Filter(field="n", gt=2**53 + 1)).tolist()


def test_a_column_of_a_table_comes_before_what_a_file_tells() -> None:
    """Then `when` is the time that it tells; without any, that of the file."""
    facts: dict[str, str | int] = {"size": 5, "modified": "2026", "taken": "2024", "camera": "a"}
    tables: list[dict[str, str | int | float | bool | None]] = [
        {},
        {"taken": "1999", "size": "large"},
        {"taken": 7},
        {"taken": None},
        {"when": "now"},
    ]
    fields = [fields_of_record(Record("a.jpg", table, facts=facts)) for table in tables]
    assert ["2024", "1999", "2026", "2026", "now"] == [one["when"] for one in fields]
    assert [5, "large", 5, 5, 5] == [one["size"] for one in fields]
    assert fields_of_record(Record("a.jpg"))["when"] is None


def test_a_value_of_another_kind_is_another_value() -> None:
    """The text "1", the number 1 and true in one field, each found by itself, also when kept."""
    found = columns([Record(str(n), {"x": x}) for n, x in enumerate(["1", 1, True, None])])
    tests = [Filter(field="x", eq=value) for value in ("1", 1, True)]

    for _ in range(2):
        masks = [found.passing(test).tolist() for test in tests]
        assert masks == np.eye(4, dtype=bool)[:3].tolist()


def test_the_fields_of_few_images_are_left_out_when_there_are_many() -> None:
    """An index has 64 fields at most."""
    rows = [Record(str(n), {f"field {i}": i for i in range(100 - n)}) for n in range(50)]
    kept = fields_of_index(rows)

    assert 64 == len(kept)
    assert {"path", "folder", "format", "offline", "field 59"} <= kept.keys()
    assert "field 60" not in kept
    assert kept["offline"] == ["boolean"]
    assert columns(rows).passing(Filter(field="field 60", exists=True)).sum() == 0


def test_a_shard_without_images_or_columns_passes_nothing() -> None:
    """An empty shard; and one of an index that was built before there were filters."""
    test = Filter(field="a", exists=True)
    assert [] == columns([]).passing(test).tolist()
    assert [False, False] == Columns(b"", 2).passing(test).tolist()


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        (Filter(), "`filter`: give `field` and a test, or one of `and`, `or`, `not`"),
        (Filter(field="a"), "`filter`: give one of eq, ne, in, prefix, exists, or bounds"),
        (Filter(eq=1), "`filter`: `field` is missing"),
        (Filter(field="a", eq=1, ne=2), "give one of"),
        (Filter(field="a", eq=1, gt=2), "give one of"),
        (Filter(field="a", gt=1, gte=2), "give gt or gte, and lt or lte"),
        (Filter(field="a", gt=1, lt="b"), "both bounds are texts, or both are numbers"),
        (Filter(field="a", in_=()), "`in` has 1 to 256 values"),
        (Filter(field="a", in_=(1,) * 257), "`in` has 1 to 256 values"),
        (Filter(field="a", gte=2**64), "`filter`: a whole number is not within"),
        (Filter(field="a", in_=(1, -(2**63) - 1)), "-9223372036854775808 and 18446744073709551615"),
        (Filter(field="a", eq="x" * 1025), "more than 1024 characters"),
        (Filter(field="a" * 1025, eq="x"), "more than 1024 characters"),
        (Filter(and_=()), "`filter.and`: it has no part"),
        (Filter(field="a", and_=(Filter(field="a", eq=1),)), "or one of `and`, `or`, `not`"),
        (Filter(or_=(Filter(field="a", eq=1), Filter(field="b"))), "`filter.or[1]`: give one of"),
        (Filter(and_=(Filter(field="a", eq=1),) * 65), "65 tests; 64 is the limit"),
        (Filter(not_=Filter(or_=(Filter(),))), "`filter.not.or[0]`: give `field`"),
    ],
)
def test_what_is_no_filter_is_refused_with_its_place(asked: Filter, told: str) -> None:
    """One line says where and what."""
    with pytest.raises(BadRequest) as refused:
        check_filter(asked)
    assert told in refused.value.detail
    assert "bad_filter" == refused.value.code


def test_a_filter_has_a_depth() -> None:
    """A tree of the deepest kind passes, a deeper one does not."""
    asked = Filter(field="a", eq=1)
    for _ in range(MAX_DEPTH - 1):
        asked = Filter(not_=asked)
    check_fields(asked, ["a"])
    with pytest.raises(BadRequest, match="no image has a field 'a'; the fields are b, c"):
        check_fields(asked, ["c", "b"])
    with pytest.raises(BadRequest, match="nested too deeply"):
        check_filter(Filter(not_=asked))
