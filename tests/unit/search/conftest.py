"""What several unit tests of search use."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from search.sqlite_log import SqliteLog


@pytest.fixture
def log(tmp_path: Path) -> Iterator[SqliteLog]:
    """A log that does not exist yet."""
    log = SqliteLog(tmp_path / "log.sqlite")
    yield log
    log.close()
