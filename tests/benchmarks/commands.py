"""The benchmarks, run as their users run them, and the tables that they print."""

import os
import re
import shutil
from pathlib import Path
from typing import Any

import pytest

from devtools.services import CHECKOUT, run_command

TARGETS = "ratio (by round) or target"
SMALL = (
    *("--model", "tiny", "--runtime", "onnxruntime", "--precision", "fp32"),
    *("--rounds", "1", "--seconds", "0.4", "--idle-s", "0", "--vectors", "300"),
    *("--shards", "1", "2"),
)
Tables = dict[str, dict[str, dict[str, str]]]
"""Cells that are not empty, by table, row and column."""


def bench(folder: Path, config: dict[str, Any], *arguments: str) -> tuple[Tables, str]:
    """Run bench.py with a small collection in a folder; the tables, and all that was printed.

    Where ab or wrk is missing skip, or fail under CI=true.
    """
    if missing := [name for name in ("ab", "wrk") if not shutil.which(name)]:
        absent = pytest.fail if os.environ.get("CI") == "true" else pytest.skip
        absent(f"not installed: {missing}")
    done = run_command("benchmarks/bench.py", config, *SMALL, *arguments, cwd=folder)
    assert done.returncode == 0, done.stderr
    return read_tables(done.stdout), done.stdout


def read_tables(text: str) -> Tables:
    """The markdown tables in a text; a later table of a title adds to the earlier one."""
    tables: Tables = {}
    for part in text.split("\n\n"):
        lines = [line.strip("|").split(" | ") for line in part.splitlines() if line[:2] == "| "]
        if len(lines) > 1:
            (title, *columns), _, *rows = ([cell.strip(" |") for cell in line] for line in lines)
            for name, *cells in rows:
                row = tables.setdefault(title, {}).setdefault(name, {})
                row |= {column: cell for column, cell in zip(columns, cells, strict=False) if cell}
    return tables


def not_printed(tables: Tables, section: str) -> set[str]:
    """What docs/benchmarks.md shows of a section and `tables` lack: columns, rows and targets.

    Numbers in names may differ, and the other projects are left out.
    """
    shown = names(read_tables((CHECKOUT / "docs/benchmarks.md").read_text()), section)
    return {name for name in shown - names(tables, section) if "clip-" not in name}


def names(tables: Tables, section: str) -> set[str]:
    """The names of a section's rows, columns and targets, with N for each number."""
    rows = tables.get(section, {})
    found = {*rows, *(column for row in rows.values() for column in row)}
    found |= {name for name in tables.get(TARGETS, {}) if name.startswith(f"{section}: ")}
    return {re.sub(r"[\d,]*\d", "N", name) for name in found}
