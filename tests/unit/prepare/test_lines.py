"""Files of JSON lines."""

from pathlib import Path

import numpy as np
import pytest

from common.errors import ConfigError
from prepare import lines
from prepare.lines import Spill, open_lines, read_lines, replace_lines
from prepare.sources import Source

LINES = [Source("a.jpg", 1, 2), Source("b.jpg", 3, 4, {"year": 5})]


def test_lines_are_read_back(tmp_path: Path) -> None:
    """From a byte on; what a kill left of the last one is not there."""
    path = tmp_path / "lines"
    replace_lines(path, LINES)
    begin = path.read_bytes().index(b"\n") + 1
    path.write_bytes(path.read_bytes() + b'{"path":"c.jp')

    assert read_lines(path, Source) == LINES
    assert read_lines(path, Source, begin) == LINES[1:]


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    """It is not there, or holds something else."""
    path = tmp_path / "lines"
    with pytest.raises(ConfigError, match="lines is missing"):
        read_lines(path, Source)
    path.write_bytes(b"{}\n")
    with pytest.raises(ConfigError, match="lines cannot be read"):
        read_lines(path, Source)


def test_lines_are_read_when_they_are_asked_for(tmp_path: Path) -> None:
    """As they were when the file was opened; in any order, some of them, or all."""
    path = tmp_path / "lines"
    replace_lines(path, LINES)
    path.write_bytes(path.read_bytes().replace(b"\n", b"\n\n") + b'{"path":"c.jp')
    there = open_lines(path, Source)
    replace_lines(path, [])

    assert (list(there), len(there), there[1], list(there[1:])) == (LINES, 2, LINES[1], LINES[1:])
    assert list(there.take(np.array([1, 0, 1]))) == [LINES[1], LINES[0], LINES[1]]
    assert list(open_lines(path, Source)) == []


def test_an_open_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    """At the line that is none."""
    path = tmp_path / "lines"
    with pytest.raises(ConfigError, match="lines is missing"):
        open_lines(path, Source)
    path.write_bytes(b"{}\n")
    with pytest.raises(ConfigError, match="lines cannot be read"):
        open_lines(path, Source)[0]


def test_lines_are_sorted_on_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Equal ones stay as they came; lines of several kinds share a file that has no name."""
    monkeypatch.setattr(lines, "RUN", 3)
    spill = Spill(tmp_path)
    first = spill.add(int, range(10))
    sources = [Source(f"{number * 7 % 5}.jpg", number, 0) for number in range(20)]
    ordered = spill.add(Source, spill.sort(Source, iter(sources), lambda source: source.path))

    assert list(ordered) == sorted(sources, key=lambda source: source.path)
    assert list(first) == list(range(10))
    assert list(tmp_path.iterdir()) == []
