"""A plan on the disk: numbered tasks, each a pure function of its input, and their results.

plan-0123456789abcdef/  its name is the digest of all that is planned
  head                  what its tasks have in common, as JSON
  shared                bytes for all tasks
  task-000003           the input of a task
  done-000003           its result, written when all that the task has written is whole

A plan is there as a whole or not at all. Whoever works on it, in any process of any machine that
sees the folder, takes no lock: a task that is done twice is done as well.
"""

import hashlib
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import chain
from operator import methodcaller
from pathlib import Path
from typing import NamedTuple, Protocol, TypeVar

import msgspec

from common.errors import ConfigError
from common.files import replace_bytes, sync, write_synced
from common.wire import UNREADABLE
from search.version_folders import PLAN

UNPLANNED = "unplanned"
"""A folder that is not a plan yet, or no longer."""
DIGITS = 16
"""Of the digest that names a plan."""
HEAD, SHARED = "head", "shared"

Kind = TypeVar("Kind")


class Plan(NamedTuple):
    """What is planned. A task may be made when it is written, so that few are held at a time."""

    head: msgspec.Struct
    shared: bytes
    tasks: Iterable[bytes]


class OtherPlan(ConfigError):
    """A plan is not for a worker: another run has left it, or the configurations differ."""


class PlanFolder:
    """An open plan; after `close` it is gone."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def is_open(self) -> bool:
        """Whether there still is anything to be done for it."""
        return self.path.exists()

    def head(self, kind: type[Kind]) -> Kind:
        """What all tasks have in common; raises ConfigError."""
        return _read(self.path / HEAD, msgspec.json.decode, kind)

    def shared(self) -> bytes:
        """The bytes for all tasks."""
        return (self.path / SHARED).read_bytes()

    def task(self, number: int, kind: type[Kind]) -> Kind:
        """The input of a task; raises ConfigError."""
        return _read(self.path / f"task-{number:06}", msgspec.msgpack.decode, kind)

    def result(self, number: int, kind: type[Kind]) -> Kind:
        """The result of a task that is done; raises ConfigError."""
        return _read(self._result(number), msgspec.msgpack.decode, kind)

    def put_result(self, number: int, result: msgspec.Struct) -> None:
        """Write the result of a task, in place of one that is there."""
        replace_bytes(self._result(number), msgspec.msgpack.encode(result))

    def done(self) -> list[int]:
        """The tasks that are done, in order."""
        return sorted(self._numbers("done-"))

    def is_done(self, number: int) -> bool:
        """Whether a task is done."""
        return self._result(number).exists()

    def missing(self) -> list[int]:
        """The tasks that are not done, in order."""
        return sorted(self._numbers("task-") - self._numbers("done-"))

    def close(self) -> None:
        """Delete the plan, with all that was written into its folder."""
        unplanned = _empty(self.path.parent)
        sync(self.path)
        self.path.rename(unplanned)
        sync(unplanned.parent)
        shutil.rmtree(unplanned)

    @contextmanager
    def until_closed(self) -> Iterator[None]:
        """Within it, a failure counts only while the plan is open: else others have done it all."""
        try:
            yield
        except Exception:
            if self.is_open:
                raise

    def _numbers(self, begin: str) -> set[int]:
        names = (path.name for path in self.path.glob(f"{begin}*") if not path.suffix)
        return {int(name.removeprefix(begin)) for name in names}

    def _result(self, number: int) -> Path:
        return self.path / f"done-{number:06}"


class Worker(Protocol):
    """What does tasks of plans of its kind."""

    def work(self, plan: PlanFolder, numbers: Sequence[int], /) -> None:
        """Do some tasks of a plan; what is done already may be left out. Raises OtherPlan."""


def open_plans(folder: Path) -> list[PlanFolder]:
    """The open plans in a folder."""
    return [PlanFolder(path) for path in sorted(folder.glob(f"{PLAN}*"))]


def open_plan(folder: Path, plan: Plan) -> PlanFolder:
    """Write a plan into a folder; if it is there already, a killed run is gone on with.

    One process at a time may do so.
    """
    new, digest = _empty(folder), hashlib.sha256()
    new.mkdir()
    tasks = ((f"task-{number:06}", task) for number, task in enumerate(plan.tasks))
    common = [(HEAD, msgspec.json.encode(plan.head)), (SHARED, plan.shared)]
    for name, data in chain(common, tasks):
        digest.update(hashlib.sha256(data).digest())
        write_synced(new / name, methodcaller("write_bytes", data))
    opened = PlanFolder(folder / f"{PLAN}{digest.hexdigest()[:DIGITS]}")
    if opened.is_open:
        shutil.rmtree(new)
    else:
        sync(new)
        new.rename(opened.path)
        sync(folder)
    return opened


def sweep_unplanned(folder: Path) -> None:
    """Delete what a killed run left of a plan that it was writing or closing."""
    if (unplanned := folder / UNPLANNED).exists():
        shutil.rmtree(unplanned)


def _empty(folder: Path) -> Path:
    """The name for what is no plan, where nothing is."""
    sweep_unplanned(folder)
    return folder / UNPLANNED


def _read(path: Path, decode: Callable[..., Kind], kind: type[Kind]) -> Kind:
    try:
        return decode(path.read_bytes(), type=kind)
    except UNREADABLE as error:
        raise ConfigError(f"{path} cannot be read: {error}") from None
