"""A search server that was down for long: its disk has a version that is older than the log."""

from pathlib import Path

import pytest

from common.errors import Unavailable
from search.sqlite_log import SqliteLog
from tests.changes import delete
from tests.search.published import Published


@pytest.mark.parametrize("fault", ["trimmed", "another log"])
def test_a_server_that_was_down_for_long_begins_with_a_newer_version(
    tmp_path: Path, fault: str
) -> None:
    """Its disk has one that the log does not go on from: what was deleted would be found again.

    It waits for no turn, as it holds nothing. While the storage is away it answers nothing.
    """
    published = Published(tmp_path)
    log, other = SqliteLog(tmp_path / "log.sqlite"), SqliteLog(tmp_path / "other.sqlite")
    log.append([delete(1)])
    published.publish(2, log=log)
    published.server(log=log).refresh()
    if fault == "another log":
        log = other
    log.append([delete(2), delete(3)])
    newest = published.publish(3, log=log)
    if fault == "trimmed":
        log.trim(2)
    published.root.rename(published.root.with_name("away"))
    server = published.server(lambda _current: False, log)
    server.refresh()
    with pytest.raises(Unavailable, match="v000002 may lack what was put and deleted"):
        server.newest()

    published.root.with_name("away").rename(published.root)
    server.refresh()
    assert (newest.named, "") == (server.newest().manifest.named, server.newest().stopped)


def test_a_server_starts_on_another_log_if_no_version_is_newer(tmp_path: Path) -> None:
    """Else searches would fail until prepare has taken up the new log."""
    published = Published(tmp_path)
    log, other = SqliteLog(tmp_path / "log.sqlite"), SqliteLog(tmp_path / "other.sqlite")
    log.append([delete(1)])
    published.publish(2, log=log)
    published.server(log=log).refresh()
    other.append([delete(2)])

    assert "another log" in published.server(log=other).newest().stopped
