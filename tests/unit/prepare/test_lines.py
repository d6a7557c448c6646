"""Files of JSON lines."""

from pathlib import Path

import pytest

from common.errors import ConfigError
from prepare.lines import read_lines, replace_lines
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
