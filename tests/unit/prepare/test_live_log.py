"""How prepare reads a log, and how far it trims it."""

from pathlib import Path

import pytest

from common.config import Loaded, parse
from common.errors import ConfigError
from prepare.live_log import live_log, log_to_follow, pages
from prepare.members import Folded
from search.log import Entry

DELETE = Entry("delete", bytes(16))


@pytest.fixture
def loaded(tmp_path: Path) -> Loaded:
    """With a log of five entries."""
    made = Loaded(parse("{}"), tmp_path)
    with live_log(made) as log:
        assert log is not None
        log.append([DELETE] * 5)
    return made


def test_a_log_is_read_in_pages(loaded: Loaded) -> None:
    """From a position to another, whatever came after it."""
    with live_log(loaded) as log:
        found = [[position for position, _ in page] for page in pages(log, 1, 4, 2)]
    assert found == [[2, 3], [4]]
    assert list(pages(None, 0, 0, 2)) == []


def test_what_a_collection_may_follow(loaded: Loaded) -> None:
    """Any whole log at first, then the same from where it was."""
    with live_log(loaded) as log:
        assert log is not None
        follow = log_to_follow(log, Folded(), accept=False)
        assert follow == Folded(log.id())
        assert log_to_follow(log, Folded(log.id(), 5, 3), accept=False) == Folded(log.id(), 5, 3)
        assert log_to_follow(None, Folded("other", 9), accept=False) == Folded("other", 9)


@pytest.mark.parametrize(
    "folded",
    [
        Folded("other", 3, own=(3, 5)),
        Folded("", 2),
        Folded("same", 6, own=(4, 6)),
        Folded("same", 4, own=(4, 6)),
    ],
)
def test_what_it_may_not_follow(loaded: Loaded, folded: Folded) -> None:
    """Unless that is agreed to: it takes all that is there, also where its own entries were."""
    with live_log(loaded) as log:
        assert log is not None
        log.trim(3)
        if folded.log_id == "same":
            folded = folded._replace(log_id=log.id())
        with pytest.raises(ConfigError, match=r"not known\. Bring the right log back"):
            log_to_follow(log, folded, accept=False)
        assert log_to_follow(log, folded, accept=True) == Folded(log.id(), 3, 3)


def read(loaded: Loaded, after: int) -> None:
    """Read to the end and two entries more."""
    with live_log(loaded) as log:
        assert log is not None
        list(pages(log, after, log.end() + 2, 2))


def test_a_gap_and_a_fault_stop_the_run(loaded: Loaded) -> None:
    """As errors that are told in a line."""
    with pytest.raises(ConfigError, match="the log ends at 5 and has no entry after 6"):
        read(loaded, 6)
    loaded.path("data/log.sqlite").write_bytes(b"junk" * 1000)
    with pytest.raises(ConfigError, match="the log of puts and deletes: "):
        read(loaded, 0)
