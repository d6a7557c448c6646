"""Tables of images: CSV, TSV, JSON Lines and Parquet. The columns beside `path` are metadata."""

import csv
import logging
import math
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from datetime import UTC, date, datetime, time
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from common.errors import ConfigError

if TYPE_CHECKING:
    from pyarrow import DataType, Table

log = logging.getLogger(__name__)

Scalar = str | int | float | bool | None
TableRow = dict[Any, Any]

SUFFIXES = {".csv", ".tsv", ".jsonl", ".parquet"}

WHOLE = re.compile(r"-?(0|[1-9][0-9]{0,17})")
"""Neither 007, which is no number, nor more digits than 64 bits hold."""
DECIMAL = re.compile(
    r"-?((0|[1-9][0-9]*)?\.[0-9]+([eE][-+]?[0-9]{1,3})?|(0|[1-9][0-9]*)[eE][-+]?[0-9]{1,3})"
)
TIME = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}([T ][0-9:]{5,8}(\.[0-9]{1,6})?(Z|[-+][0-9]{2}:?[0-9]{2})?)?"
)


def read_table(table: Path) -> Iterator[tuple[Path, dict[str, Scalar]]]:
    """The path and the metadata of each row; `path` is relative to the folder of the table.

    Raises ConfigError, OSError, csv.Error; ValueError for what is no UTF-8, or changes meanwhile.
    """
    for row in _rows(table):
        path = row.pop("path", None)
        if not path or not isinstance(path, str):
            raise ConfigError(f"{table} has no column `path` of text, or a row without it")
        yield table.parent / path, {str(name): scalar(value) for name, value in row.items()}


def _rows(table: Path) -> Iterable[TableRow]:
    match table.suffix.lower():
        case ".parquet":
            return _parquet(table)
        case ".jsonl":
            return _json_lines(table)
    return _typed(table)


def _typed(table: Path) -> Iterator[TableRow]:
    """The rows of a CSV or TSV, each column with the type that all its values have."""
    kinds = _kinds_of_columns(table)
    for row in _text_rows(table):
        yield {
            name: _typed_value(value, kinds.get(name, "text")) if isinstance(value, str) else value
            for name, value in row.items()
        }


def _text_rows(table: Path) -> Iterator[TableRow]:
    dialect = "excel-tab" if table.suffix.lower() == ".tsv" else "excel"
    with table.open(newline="", encoding="utf-8-sig") as file:
        yield from csv.DictReader(file, dialect=dialect)


def _kinds_of_columns(table: Path) -> dict[str, str]:
    """The kind of each column; one whose values are of several kinds is text, which is told."""
    examples: dict[str, dict[str, str]] = defaultdict(dict)
    for row in _text_rows(table):
        for name, value in row.items():
            if name != "path" and isinstance(value, str) and value.strip():
                examples[name].setdefault(_kind(value), value)
    kinds, mixed = {}, []
    for name, found in examples.items():
        if found.keys() == {"whole", "decimal"}:
            kinds[name] = "decimal"
        elif len(found) == 1:
            (kinds[name],) = found
        else:
            mixed.append(f"{name} ({', '.join(value[:40] for value in found.values())})")
    if mixed:
        log.warning("%s: columns of several types stay text: %s", table, "; ".join(mixed))
    return kinds


def _kind(value: str) -> str:
    """What a text of a table may be read as."""
    value = value.strip()
    if WHOLE.fullmatch(value):
        return "whole"
    if DECIMAL.fullmatch(value) and math.isfinite(float(value)):
        return "decimal"
    if value.lower() in ("true", "false"):
        return "boolean"
    if TIME.fullmatch(value):
        try:
            moment = datetime.fromisoformat(value)
            return "time of a zone" if _in_utc(moment).tzinfo else "time"
        except (ValueError, OverflowError):  # no such day, or before the year 1 in UTC
            pass
    return "text"


def _typed_value(value: str, kind: str) -> Scalar:
    """A value of a column; an empty one is null, but in a column of text."""
    stripped = value.strip()
    match kind:
        case "text":
            return value
        case _ if not stripped:
            return None
        case "whole":
            return int(stripped)
        case "decimal":
            return float(stripped)
        case "boolean":
            return stripped.lower() == "true"
    moment = datetime.fromisoformat(stripped)
    return _time_text(moment if len(stripped) > len("2026-01-01") else moment.date())


def scalar(value: Any) -> Scalar:
    """A value as JSON has it: times as ISO 8601, numbers that are none as null, others as text."""
    match value:
        case float() if not math.isfinite(value):
            return None
        case int() if not -(2**63) <= value < 2**64:
            return str(value)
        case str() | int() | float() | None:
            return value
        case date() | time():
            return _time_text(value)
        case Decimal():
            return scalar(float(value))
        case list() | dict():
            return msgspec.json.encode(value, enc_hook=str).decode()
    return str(value)


def _time_text(moment: date | time) -> str:
    """One form for each moment, so that texts sort as times do."""
    return (_in_utc(moment) if isinstance(moment, datetime) else moment).isoformat()


def _in_utc(moment: datetime) -> datetime:
    """A time with a zone in UTC, others as they are; raises OverflowError."""
    return moment.astimezone(UTC) if moment.tzinfo else moment


def _json_lines(table: Path) -> Iterator[TableRow]:
    decoder = msgspec.json.Decoder(dict[str, Any])
    with table.open("rb") as file:
        for number, line in enumerate(file, 1):
            if line.strip():
                try:
                    yield decoder.decode(line)
                except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
                    raise ConfigError(f"cannot read {table}: line {number}: {error}") from None


def _parquet(path: Path) -> Iterable[TableRow]:
    try:
        from pyarrow import ArrowException, parquet
    except ImportError:
        raise ConfigError(f"{path}: reading Parquet needs: pip install pyarrow") from None
    try:
        rows: list[TableRow] = _in_microseconds(parquet.read_table(path)).to_pylist()
    # The last three are for values that Python has not: the year 10,000, an unknown time zone.
    except (ArrowException, ValueError, OverflowError, KeyError) as error:
        raise ConfigError(f"cannot read {path}: {error}") from None
    return rows


def _in_microseconds(table: "Table") -> "Table":
    """A table with times as Python has them: of nanoseconds, the whole microseconds."""
    from pyarrow import duration, time64, timestamp

    def whole(kind: "DataType") -> "DataType":
        zone = getattr(kind, "tz", None)
        coarser = {
            timestamp("ns", zone): timestamp("us", zone),
            time64("ns"): time64("us"),
            duration("ns"): duration("us"),
        }
        return coarser.get(kind, kind)

    for place, field in enumerate(table.schema):
        if (kind := whole(field.type)) != field.type:
            column = table.column(place).cast(kind, safe=False)
            table = table.set_column(place, field.with_type(kind), column)
    return table
