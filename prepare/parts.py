"""A run in parts: several processes, perhaps of several machines, that share the tasks of plans.

Part 0 plans and finishes, under the locks. The others look for open plans and do their tasks of
them. Each part has a file in `parts`, a folder in the embedding folder. At the end of the run, part
0 calls the others: it writes random bytes into its file, and they copy them into theirs. When all
have answered, it takes the files away, which ends them. What a killed run has left is no answer.
"""

import argparse
import shutil
import time
import uuid
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
        missing = plan.missing()
        worker.work(plan, self.share(missing))
        self._wait(lambda: {task % self.total for task in plan.missing()})
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
            self._answer(folder)
            time.sleep(LOOK_S)

    def end(self, folder: Path) -> None:
        """End the other parts, once all of them are there."""
        if self.total == 1:
            return
        own, call = self._file(folder, self.number), uuid.uuid4().bytes
        own.parent.mkdir(exist_ok=True)
        own.write_bytes(call)

        def silent() -> set[int]:
            if self._read(folder, self.number) != call:  # a later run calls
                return set()
            return {part for part in range(self.total) if self._read(folder, part) != call}

        self._wait(silent)
        shutil.rmtree(own.parent, ignore_errors=True)  # the other run may be at it, too

    def _answer(self, folder: Path) -> None:
        """Copy the call of part 0, if there is one, into our file, if it is still there."""
        if call := self._read(folder, 0):
            with suppress(FileNotFoundError), self._file(folder, self.number).open("r+b") as own:
                own.write(call)

    def _read(self, folder: Path, part: int) -> bytes:
        """What is in the file of a part, nothing if there is none."""
        try:
            return self._file(folder, part).read_bytes()
        except FileNotFoundError:
            return b""

    def _wait(self, waits_for: Callable[[], set[int]]) -> None:
        """Wait until there is no part to wait for, and tell which there are."""
        told: set[int] = set()
        while parts := waits_for():
            if not parts <= told:
                print(f"waiting for {', '.join(map(self._beside, sorted(parts)))}", flush=True)
            told = parts
            time.sleep(LOOK_S)

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
