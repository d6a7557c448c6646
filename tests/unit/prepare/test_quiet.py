"""When changed files are looked at, by a clock that a test moves."""

import pytest

from devtools.fake_clock import FakeClock
from prepare.quiet import MOST_S, OPEN_S, Quiet


@pytest.fixture
def clock() -> FakeClock:
    """A clock."""
    return FakeClock()


@pytest.fixture
def quiet(clock: FakeClock) -> Quiet:
    """Files are whole after two seconds."""
    return Quiet(2, clock)


def test_nothing_is_due_before_a_change(quiet: Quiet, clock: FakeClock) -> None:
    """However long that takes."""
    clock.advance(1000)
    assert not quiet.is_due()


def test_a_change_is_due_when_it_was_the_last(quiet: Quiet, clock: FakeClock) -> None:
    """Each further change is waited for, too."""
    quiet.note("a")
    clock.advance(1.5)
    quiet.note("b")
    clock.advance(1.5)
    assert not quiet.is_due()
    clock.advance(0.5)
    assert quiet.is_due()
    quiet.begin()
    assert not quiet.is_due()


def test_an_open_file_is_waited_for(quiet: Quiet, clock: FakeClock) -> None:
    """Until it is closed, or nothing was written for long."""
    quiet.note("a", is_open=True)
    clock.advance(OPEN_S - 1)
    assert not quiet.is_due()
    quiet.note("a")
    clock.advance(2)
    assert quiet.is_due()

    quiet.note("a", is_open=True)
    clock.advance(OPEN_S)
    assert quiet.is_due()


def test_what_never_is_quiet_is_looked_at(quiet: Quiet, clock: FakeClock) -> None:
    """A minute after the first change."""
    for _ in range(int(MOST_S)):
        quiet.note("a", is_open=True)
        assert not quiet.is_due()
        clock.advance(1)
    assert quiet.is_due()


def test_late_notice_is_waited_for(quiet: Quiet, clock: FakeClock) -> None:
    """Never shorter than it was."""
    quiet.wait_longer(4)
    quiet.wait_longer(1)
    quiet.note("a")
    clock.advance(3)
    assert not quiet.is_due()
    clock.advance(1)
    assert quiet.is_due()
