"""The fields of images that filters test, and the file that has them for a shard.

The file has a column for each kind of value of each field: the values that are there, sorted, and
for each row the number of its value.
"""

import posixpath
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from search.filter import MAX_TEXT, Value
from search.messages import Fields, Kind, Record

MAX_FIELDS = 64
"""Of an index; further fields of the tables are shown with hits, and no filter finds them."""
ALIGNED = 8
CODE = np.dtype("<u4")


class Head(msgspec.Struct, array_like=True):
    """Where a column lies in the file, in bytes from the end of the heads."""

    field: str
    kind: Kind
    values: int
    """How many different values it has."""
    dtype: str
    """Of the values; of a text, of its end among all texts."""
    codes_at: int
    values_at: int
    texts_at: int
    size: int
    """The bytes of all its texts."""


def fields_of_record(record: Record) -> dict[str, Value | None]:
    """What filters see of an image: the columns of its table, and what prepare knows of it.

    A column of the same name comes first. `when` is the time that `taken` tells, else `modified`.
    """
    told = record.told_path  # a path of pathlib would cost more than all the rest
    known: dict[str, Value | None] = {
        "path": told,
        "folder": posixpath.dirname(told),
        "format": posixpath.splitext(told)[1].removeprefix(".").lower(),
        "offline": record.offline,
    }
    fields = known | record.facts | record.metadata
    times = (fields.get(name) for name in ("taken", "modified"))
    return {"when": next((time for time in times if time and isinstance(time, str)), None)} | fields


def fields_of_index(records: Iterable[Record], kept: Fields | None = None) -> Fields:
    """The fields that filters can test, those of the fewest images left out if there are many.

    `kept` are the fields of the segments that an index takes over, which stay.
    """
    counts: dict[str, int] = defaultdict(int)
    kinds: dict[str, set[Kind]] = defaultdict(set)
    for name, known in (kept or {}).items():
        kinds[name].update(known)
    for record in records:
        for name, value in fields_of_record(record).items():
            if value is not None:
                counts[name] += 1
                kinds[name].add(kind_of(value))
    order = sorted(kinds, key=lambda name: (name not in (kept or {}), -counts[name], name))
    return {name: sorted(kinds[name]) for name in sorted(order[:MAX_FIELDS])}


def kind_of(value: object) -> Kind:
    """The kind of a value."""
    if isinstance(value, bool):
        return "boolean"
    return "text" if isinstance(value, str) else "number"


def pack(records: Sequence[Record], fields: Fields) -> bytes:
    """The columns of a shard's images, in the order of its rows."""
    found: dict[tuple[str, Kind], dict[int, Value]] = {
        (name, kind): {} for name, kinds in fields.items() for kind in kinds
    }
    for row, record in enumerate(records):
        for name, value in fields_of_record(record).items():
            if value is not None and name in fields:
                found[name, kind_of(value)][row] = value
    body = bytearray()
    heads = [_add(body, len(records), name, kind, by_row) for (name, kind), by_row in found.items()]
    packed = msgspec.msgpack.encode(heads)
    return len(packed).to_bytes(ALIGNED, "little") + _padded(packed) + body


def _add(body: bytearray, rows: int, field: str, kind: Kind, by_row: Mapping[int, Any]) -> Head:
    """Append a column to the body of the file."""
    texts = b""
    values: NDArray[Any]
    if kind == "text":
        words = [value[: MAX_TEXT + 1].encode() for value in by_row.values()]
        distinct = sorted(set(words))
        numbers = {word: number for number, word in enumerate(distinct, 1)}
        codes = np.array([numbers[word] for word in words], CODE)
        texts, values = b"".join(distinct), np.cumsum([len(word) for word in distinct], dtype="<i8")
    else:
        values, places = np.unique(_numbers(kind, list(by_row.values())), return_inverse=True)
        codes = (places + 1).astype(CODE)
    column = np.zeros(rows, CODE)
    column[list(by_row)] = codes
    starts = []
    for part in (column.tobytes(), values.tobytes(), texts):
        starts.append(len(body))
        body += _padded(part)
    codes_at, values_at, texts_at = starts
    return Head(
        field, kind, len(values), values.dtype.str, codes_at, values_at, texts_at, len(texts)
    )


def _numbers(kind: Kind, values: list[Any]) -> NDArray[Any]:
    """Whole numbers of 64 bits where all are; else floats, which round those past 2**53."""
    if kind == "boolean":
        return np.array(values, np.bool_)
    is_whole = all(isinstance(value, int) and -(2**63) <= value < 2**63 for value in values)
    return np.array(values, "<i8" if is_whole else "<f8")


def _padded(part: bytes) -> bytes:
    return part + bytes(-len(part) % ALIGNED)
