"""A run in parts: several processes, perhaps of several machines, that share the tasks of plans.

Part 0 plans and finishes, under the locks. The others look for open plans and do their tasks of
them. A part tells that it is there by a file in `parts`, a folder in the embedding folder. At the
end of the run part 0 takes these files away, which ends the other parts.
"""

import argparse
import shutil
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from prepare.plans import OtherPlan, PlanFolder, Worker

PARTS = "parts"
LOOK_S = 0.5

DoAll = Callable[[PlanFolder, Worker], list[int]]
"""Has all tasks of a plan done; gives those that were not done before."""


class Part(NamedTuple):
    """A part of a run, counted from 0."""

    number: int
    total: int

    def share(self, tasks: Iterable[int]) -> list[int]:
        """Of some tasks those of this part."""
        return [task for task in tasks if task % self.total == self.number]

    def do_all(self, plan: PlanFolder, worker: Worker) -> list[int]:
        """Do the tasks of this part, then wait for those of the others: see `DoAll`."""
        missing = waiting = plan.missing()
        worker.work(plan, self.share(missing))
        told: set[str] = set()
        while waiting := plan.missing():
            parts = {self._beside(task % self.total) for task in waiting}
            if not parts <= told:
                print(f"waiting for {', '.join(sorted(parts))}", flush=True)
            told = parts
            time.sleep(LOOK_S)
        return missing

    def follow(self, folder: Path, look: Callable[[], Iterator[tuple[PlanFolder, Worker]]]) -> None:
        """Do the tasks of a part other than 0 until part 0 ends; `folder` is that of embeddings.

        `look` gives the open plans, each with what does its tasks.
        """
        own = self._file(folder, self.number)
        own.parent.mkdir(parents=True, exist_ok=True)
        own.touch()
        print(f"following {self._beside(0)}", flush=True)
        while own.exists():
            for plan, worker in look():
                with suppress(OtherPlan), plan.until_closed():
                    worker.work(plan, self.share(plan.missing()))
            time.sleep(LOOK_S)

    def end(self, folder: Path) -> None:
        """End the other parts, once all of them have come."""
        others = [self._file(folder, number) for number in range(self.total) if number]
        while not all(other.exists() for other in others):
            time.sleep(LOOK_S)
        if others:
            shutil.rmtree(folder / PARTS)

    def _beside(self, number: int) -> str:
        return f"part {number}/{self.total}"

    def _file(self, folder: Path, number: int) -> Path:
        return folder / PARTS / f"{number}-{self.total}"


WHOLE_RUN = Part(0, 1)


def part_of(text: str) -> Part:
    """The part that `i/n` names; raises ArgumentTypeError."""
    number, _, count = text.partition("/")
    if not (number.isdecimal() and count.isdecimal() and int(number) < int(count)):
        raise argparse.ArgumentTypeError("it is 0/3, 1/3 or 2/3: which part of how many, from 0")
    return Part(int(number), int(count))
