"""How often a log in a file is looked into."""

import pytest

from search import sqlite_log
from search.sqlite_log import POLL_S, QUIET_POLL_S, QUIET_S, SqliteLog
from tests.changes import delete


class Clock:
    """Time that passes while someone sleeps, and when a test says so."""

    def __init__(self) -> None:
        self.now = 0.0
        self.slept: list[float] = []

    def monotonic(self) -> float:
        """The time."""
        return self.now

    def sleep(self, seconds: float) -> None:
        """Let time pass."""
        self.slept.append(seconds)
        self.now += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The log's clock."""
    clock = Clock()
    monkeypatch.setattr(sqlite_log, "time", clock)
    return clock


def test_a_quiet_log_is_looked_into_less_often(log: SqliteLog, clock: Clock) -> None:
    """Seldom before the first entry, often after an entry, and seldom again."""
    log.wait(0, 1.0)
    assert set(clock.slept) == {QUIET_POLL_S}

    log.append([delete(1)])
    clock.slept.clear()
    log.wait(0, 1.0)
    assert clock.slept == []

    log.wait(1, QUIET_S - POLL_S)
    assert set(clock.slept) == {POLL_S}

    clock.now += POLL_S
    clock.slept.clear()
    log.wait(1, 1.0)
    assert set(clock.slept) == {QUIET_POLL_S}


def test_a_wait_without_an_entry_ends(log: SqliteLog, clock: Clock) -> None:
    """After its time, or one look later."""
    log.wait(0, 0.25)

    assert 0.25 <= clock.now < 0.25 + QUIET_POLL_S
