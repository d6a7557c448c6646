"""H: the columns of a table keep their types, and what stays text is told."""

import json
import math
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from typing import IO, Any

import pyarrow
import pytest
from pyarrow import parquet

from common.errors import ConfigError
from prepare.sources import find_sources
from prepare.tables import read_table


def column(tmp_path: Path, *values: str) -> list[Any]:
    """What a column of a CSV is read as."""
    table = tmp_path / "t.csv"
    table.write_text("path,x\n" + "".join(f'{n}.jpg,"{v}"\n' for n, v in enumerate(values)))
    return [metadata["x"] for _, metadata in read_table(table)]


@pytest.mark.parametrize(
    ("values", "read"),
    [
        (["1", "-20", "", " 0 "], [1, -20, None, 0]),
        (["21.11", "3", "-.5", "1e3"], [21.11, 3.0, -0.5, 1000.0]),
        (["true", "False", ""], [True, False, None]),
        (["2026-01-31", "2025-12-01 10:30"], ["2026-01-31", "2025-12-01T10:30:00"]),
        (["2026-01-31T10:00+02:00", "2026-01-31T08:00Z"], ["2026-01-31T08:00:00+00:00"] * 2),
        (["", " "], ["", " "]),
        *(([text, ""], [text, ""]) for text in ("007", "+49 1", "1,5", "nan", "1e999", "yes")),
        *(([text, ""], [text, ""]) for text in ("1" * 19, "e5", ".", "-", "1.", "٣", "0x1")),
        *(([text, ""], [text, ""]) for text in ("2026-02-30", "0001-01-01T00:00+14:00")),
    ],
)
def test_a_column_has_the_type_of_all_its_values(
    tmp_path: Path, values: list[str], read: list[Any], caplog: pytest.LogCaptureFixture
) -> None:
    """Empty ones are null but in text; what only looks like a number is text."""
    found = column(tmp_path, *values)

    assert found == read
    assert [type(value) for value in found] == [type(value) for value in read]
    assert caplog.messages == []


@pytest.mark.parametrize(
    "values",
    [["1", "n/a"], ["true", "1"], ["2026-01-31", "1"], ["2026-01-31T10:00Z", "2026-01-31"]],
)
def test_a_column_of_several_types_stays_text(
    tmp_path: Path, values: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    """And one line says so, with what it holds."""
    assert column(tmp_path, *values) == values
    (line,) = caplog.messages
    assert f"stay text: x ({values[0]}, {values[1]})" in line


def test_tabs_and_json_lines_are_read(tmp_path: Path) -> None:
    """Whatever the case of their endings; values of JSON are as they are."""
    (tmp_path / "t.TSV").write_text("path\tx\ta,b\na.jpg\t1\tc,d\n", encoding="utf-8-sig")
    rows = [{"path": "a.jpg", "n": 1, "x": 0.5, "b": True, "t": "007", "l": [1, "é"], "z": None}]
    lines = "\n\n".join(json.dumps(row) for row in rows) + "\n"
    (tmp_path / "t.jsonl").write_text(lines)

    assert list(read_table(tmp_path / "t.TSV")) == [(tmp_path / "a.jpg", {"x": 1, "a,b": "c,d"})]
    ((path, metadata),) = read_table(tmp_path / "t.jsonl")
    assert path == tmp_path / "a.jpg"
    del rows[0]["path"]
    assert metadata == {**rows[0], "l": '[1,"é"]'}


@pytest.mark.parametrize("line", ["{", "[]", '{"path": 1}', '{"x": "a.jpg"}', "[" * 100_000])
def test_a_line_that_is_no_row_is_told(tmp_path: Path, line: str) -> None:
    """H: with the table, and where it is the line's own fault with its number."""
    (tmp_path / "t.jsonl").write_text(f'{{"path": "a.jpg"}}\n{line}\n')

    with pytest.raises(ConfigError, match=r"t\.jsonl(: line 2| has no column `path`)"):
        list(read_table(tmp_path / "t.jsonl"))


def test_types_of_parquet_that_json_has_not(tmp_path: Path) -> None:
    """Times are ISO 8601, those with a zone in UTC; decimals are numbers, the rest is text."""
    zone = timezone(timedelta(hours=2))
    values = {
        "day": date(2026, 1, 31),
        "moment": datetime(2026, 1, 31, 10),
        "of zone": datetime(2026, 1, 31, 10, tzinfo=zone).astimezone(UTC),
        "hour": time(10, 30),
        "price": Decimal("21.11"),
        "large": 2**64 - 1,
        "nan": math.nan,
        "list": [1, None],
        "bytes": b"x",
    }
    columns = {name: [value] for name, value in {"path": "a.jpg", **values}.items()}
    columns["large"] = pyarrow.array([2**64 - 1], pyarrow.uint64())

    assert metadata_of(columns, tmp_path) == {
        "day": "2026-01-31",
        "moment": "2026-01-31T10:00:00",
        "of zone": "2026-01-31T08:00:00+00:00",
        "hour": "10:30:00",
        "price": 21.11,
        "large": 2**64 - 1,
        "nan": None,
        "list": "[1,null]",
        "bytes": "b'x'",
    }


def metadata_of(columns: dict[str, Any], folder: Path) -> Any:
    """The metadata of the only row of a Parquet table."""
    parquet.write_table(pyarrow.table(columns), folder / "t.parquet")
    ((_, metadata),) = read_table(folder / "t.parquet")
    return metadata


def test_times_of_nanoseconds_lose_what_python_has_not(tmp_path: Path) -> None:
    """Without pandas, pyarrow gives such a time as an error."""
    nanoseconds = 1769853600_123456789
    columns = {
        "path": pyarrow.array(["a.jpg"]),
        "moment": pyarrow.array([nanoseconds], pyarrow.timestamp("ns")),
        "of zone": pyarrow.array([nanoseconds], pyarrow.timestamp("ns", "+02:00")),
        "hour": pyarrow.array([1_500], pyarrow.time64("ns")),
        "span": pyarrow.array([1_500], pyarrow.duration("ns")),
        "none": pyarrow.array([None], pyarrow.timestamp("ns")),
    }

    assert metadata_of(columns, tmp_path) == {
        "moment": "2026-01-31T10:00:00.123456",
        "of zone": "2026-01-31T10:00:00.123456+00:00",
        "hour": "00:00:00.000001",
        "span": "0:00:00.000001",
        "none": None,
    }


@pytest.mark.parametrize(
    "column",
    [
        pyarrow.array([2**60], pyarrow.timestamp("us")),
        pyarrow.array([2**40], pyarrow.timestamp("s")),
        pyarrow.array([2**30], pyarrow.date32()),
        pyarrow.array([[1]], pyarrow.list_(pyarrow.timestamp("ns"))),
    ],
    ids=lambda column: str(column.type),
)
def test_a_time_that_python_has_not_is_told(tmp_path: Path, column: Any) -> None:
    """H: with the table; so its images are offline, and no run ends in a traceback."""
    table = pyarrow.table({"path": ["a.jpg"], "x": column})
    parquet.write_table(table, tmp_path / "t.parquet")

    with pytest.raises(ConfigError, match=r"cannot read .*t\.parquet: "):
        list(read_table(tmp_path / "t.parquet"))


def test_a_number_that_no_message_holds_is_text(tmp_path: Path) -> None:
    """MessagePack has 64 bits."""
    (tmp_path / "t.jsonl").write_text(f'{{"path": "a.jpg", "n": {2**64}, "m": {-(2**63)}}}')

    ((_, metadata),) = read_table(tmp_path / "t.jsonl")

    assert metadata == {"n": str(2**64), "m": -(2**63)}


def test_a_table_that_changes_while_it_is_read_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The types of its columns were of what it was."""
    table, looks, opened = tmp_path / "t.csv", list[Path](), Path.open

    def look(path: Path, *args: Any, **kwargs: Any) -> IO[Any]:
        looks.append(path)
        if len(looks) == 2:
            table.write_bytes(b"path,stock\na.jpg,none\n")
        file: IO[Any] = opened(path, *args, **kwargs)
        return file

    table.write_bytes(b"path,stock\na.jpg,12\n")
    monkeypatch.setattr(Path, "open", look)
    with pytest.raises(ConfigError, match=r"cannot read .*t\.csv"):
        find_sources(table, tmp_path)
