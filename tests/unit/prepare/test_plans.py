"""Plans on the disk: there as a whole or not at all, and gone on with by whoever plans the same."""

from pathlib import Path

import msgspec
import pytest

from common.errors import ConfigError
from prepare.plans import UNPLANNED, Plan, open_plan, open_plans, sweep_unplanned


class Head(msgspec.Struct, frozen=True):
    """What tasks have in common."""

    name: str


class Result(msgspec.Struct, frozen=True):
    """The result of a task."""

    value: int


def plan(name: str = "a", tasks: int = 3) -> Plan:
    """A plan of some tasks."""
    return Plan(Head(name), b"shared", map(msgspec.msgpack.encode, range(tasks)))


def test_a_plan_is_read_back(tmp_path: Path) -> None:
    """Its head, what all tasks share, and their inputs; results as they come."""
    opened = open_plan(tmp_path, plan())

    assert (opened.head(Head), opened.shared()) == (Head("a"), b"shared")
    assert [opened.task(number, int) for number in opened.missing()] == [0, 1, 2]
    opened.put_result(1, Result(7))
    assert (opened.done(), opened.missing(), opened.is_done(1)) == ([1], [0, 2], True)
    assert opened.result(1, Result) == Result(7)
    with pytest.raises(ConfigError, match="cannot be read"):
        opened.head(Result)


def test_the_same_plan_is_gone_on_with(tmp_path: Path) -> None:
    """What is done stays done; another head or other tasks are another plan."""
    opened = open_plan(tmp_path, plan())
    opened.put_result(1, Result(7))

    assert open_plan(tmp_path, plan()).done() == [1]
    assert {opened.path} < {open_plan(tmp_path, other).path for other in (plan(), plan("b"))}
    assert open_plan(tmp_path, plan(tasks=2)).missing() == [0, 1]
    assert len(open_plans(tmp_path)) == 3


def test_a_closed_plan_is_gone(tmp_path: Path) -> None:
    """Whoever works on it still need not care; a failure before counts."""
    opened = open_plan(tmp_path, plan())
    with pytest.raises(ValueError, match="broken"), opened.until_closed():
        raise ValueError("broken")
    opened.close()

    assert not opened.is_open
    assert list(tmp_path.iterdir()) == []
    with opened.until_closed():
        opened.put_result(0, Result(1))


def test_what_a_kill_left_is_no_plan(tmp_path: Path) -> None:
    """Before a plan was whole, or while it was deleted."""
    (tmp_path / UNPLANNED).mkdir()
    (tmp_path / UNPLANNED / "head").touch()
    assert open_plans(tmp_path) == []
    open_plan(tmp_path, plan()).close()

    assert list(tmp_path.iterdir()) == []
    (tmp_path / UNPLANNED).mkdir()
    sweep_unplanned(tmp_path)
    assert list(tmp_path.iterdir()) == []
