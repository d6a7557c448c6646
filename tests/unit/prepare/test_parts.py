"""Parts of a run: who does what, and when they end."""

import threading
import time
from argparse import ArgumentTypeError
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import msgspec
import pytest

from prepare.parts import Part, part_of
from prepare.plans import OtherPlan, Plan, PlanFolder, Worker, open_plan


class Done(msgspec.Struct, frozen=True):
    """That a task is done."""


class Doing:
    """Does tasks, then what it is told to."""

    def __init__(self, then: Callable[[], None] = lambda: None) -> None:
        self._then = then

    def work(self, plan: PlanFolder, numbers: Sequence[int]) -> None:
        """Do tasks."""
        for number in numbers:
            plan.put_result(number, Done())
        self._then()


@pytest.fixture
def plan(tmp_path: Path) -> PlanFolder:
    """A plan of seven tasks."""
    return open_plan(tmp_path, Plan(Done(), b"", [b"%d" % number for number in range(7)]))


def test_parts_share_all_tasks() -> None:
    """Each task is one part's."""
    shares = [Part(number, 3).share(range(7)) for number in range(3)]
    assert shares == [[0, 3, 6], [1, 4], [2, 5]]


@pytest.mark.parametrize("text", ["", "1", "3/3", "-1/3", "1/", "/3", "1/x", "0/0"])
def test_what_is_no_part_is_refused(text: str) -> None:
    """Parts are counted from 0."""
    with pytest.raises(ArgumentTypeError, match="0/3, 1/3 or 2/3"):
        part_of(text)


def test_part_0_waits_for_the_others(
    plan: PlanFolder, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It tells for whom, and what was not done before; the others end when it takes leave."""
    Doing().work(plan, [0, 1])
    first, second = part_of("0/2"), part_of("1/2")
    is_seen = threading.Event()

    def look() -> Iterator[tuple[PlanFolder, Worker]]:
        is_seen.set()
        if plan.is_open:
            yield plan, Doing()

    follower = threading.Thread(target=second.follow, args=(tmp_path, look))

    def then() -> None:
        assert plan.missing() == [3, 5]
        follower.start()

    assert first.do_all(plan, Doing(then)) == [2, 3, 4, 5, 6]
    assert "waiting for part 1/2\n" in capsys.readouterr().out
    plan.close()
    is_seen.clear()
    assert is_seen.wait(10), "it goes on looking"
    first.end(tmp_path)
    follower.join(10)
    assert not follower.is_alive()
    assert list(tmp_path.iterdir()) == []


def test_a_plan_of_another_model_is_left_alone(plan: PlanFolder, tmp_path: Path) -> None:
    """A killed run may have left it: part 0 closes it."""

    class Other:
        def work(self, plan: PlanFolder, numbers: Sequence[int]) -> None:
            (tmp_path / "parts" / "1-2").unlink(missing_ok=True)
            raise OtherPlan("of another model")

    Part(1, 2).follow(tmp_path, lambda: iter([(plan, Other())]))
    assert plan.done() == []


@pytest.mark.parametrize("left", [{}, {"1-2": b""}, {"0-2": b"call", "1-2": b"call"}])
def test_part_0_ends_the_others_when_all_have_come(left: dict[str, bytes], tmp_path: Path) -> None:
    """One that comes late would wait for the next run. What a killed run has left is no part."""
    for name, data in left.items():
        (tmp_path / "parts").mkdir(exist_ok=True)
        (tmp_path / "parts" / name).write_bytes(data)
    ending = threading.Thread(target=Part(0, 2).end, args=(tmp_path,))
    ending.start()
    ending.join(0.1)
    assert ending.is_alive()

    Part(1, 2).follow(tmp_path, lambda: iter(()))
    ending.join(10)
    assert not ending.is_alive()


def test_of_two_that_call_the_later_has_the_answers(tmp_path: Path) -> None:
    """The earlier one ends as well: its index is in use, and nobody will answer it."""
    part, follower = (
        Part(0, 2),
        threading.Thread(target=Part(1, 2).follow, args=(tmp_path, lambda: iter(()))),
    )
    earlier = threading.Thread(target=part.end, args=(tmp_path,), daemon=True)
    earlier.start()
    while not (tmp_path / "parts/0-2").exists():
        time.sleep(0.01)
    (tmp_path / "parts/0-2").write_bytes(b"the call of a later run")
    earlier.join(10)
    assert not earlier.is_alive()
    follower.start()
    part.end(tmp_path)
    follower.join(10)

    assert not follower.is_alive()
