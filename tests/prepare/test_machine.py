"""A, G: whatever becomes of folders, no image is lost, shown wrong or embedded twice."""

import os
import shutil
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from common.config import Loaded, parse
from common.errors import ConfigError
from prepare import build_index, chunk_tasks, save_embedding
from prepare.chunks import EmbeddingFolder
from prepare.roots import Change
from tests.prepare.folders import BROKEN, DEEP, Folders, picture
from tests.prepare.machines import run_machine
from tests.prepare.searchable import Found, check, read
from tests.prepare.stub_tower import MAX_PIXELS, SPACE, StubTower

CONFIG = f"""{{"Prepare": {{"images": ["r0", "r1"], "chunk-size": 3, "threads": 1}},
  "Inference": {{"max-pixels": {MAX_PIXELS}}}, "Search": {{"server-list": ["127.0.0.1:1"]}}}}"""
ROOTS = ("r0", "r1", "r 2 & é")
NAMES = ("a.png", "b c.png", "e\u0301.png", "\xe9.png", "new\nline.png", "%41'$(x).png", "-x.PNG")
DEEP_NAMES = tuple(f"{DEEP}/{name}" for name in NAMES[:3])
EXAMPLES, STEPS = 15, 40
"""Of each run of the tests."""

roots = st.sampled_from(ROOTS)
names = st.sampled_from(NAMES + DEEP_NAMES)
seeds = st.integers(0, 20)
contents = st.one_of(seeds.map(picture), st.sampled_from(BROKEN))
numbers = st.integers(0, 100)


class Machine(RuleBasedStateMachine):
    """People, disks and prepare at work on three roots."""

    def __init__(self) -> None:
        super().__init__()
        self.base = Path(tempfile.mkdtemp(prefix="machine"))
        self.folders = Folders(self.base)
        (self.base / "away").mkdir()
        self.loaded = Loaded(parse(CONFIG), self.base)
        self.embeddings = EmbeddingFolder(self.base / "data/embeddings")
        self.tower = StubTower()
        self.held = {"r0", "r1"}
        self.found: dict[str, Found] = {}
        self._patches = ExitStack()
        model: dict[str, Any] = {
            "load_model": lambda *_, **__: self.tower.model(),
            "space_of_model": lambda *_: SPACE,
        }
        self._patches.enter_context(patch.multiple(chunk_tasks, **model))
        self._patches.enter_context(patch.object(os, "scandir", self.folders.scandir))

    def teardown(self) -> None:
        """Leave nothing."""
        self._patches.close()
        shutil.rmtree(self.base)

    @initialize()
    def begin(self) -> None:
        """A collection of two of three roots."""
        for number, root in enumerate(ROOTS):
            self.folders.write(root, "first.png", picture(30 + number))
        self.folders.write("r0", "deep/second.png", picture(40))
        self.prepare()

    def mounted(self, number: int) -> str:
        """One of the roots that are there; "" if there is none."""
        there = [root for root in ROOTS if root not in self.folders.unmounted]
        return there[number % len(there)] if there else ""

    def file(self, number: int) -> tuple[str, str] | None:
        """A file that is there."""
        there = [
            (root, name)
            for root in ROOTS
            if root not in self.folders.unmounted
            for name in sorted(self.folders.files[root])
        ]
        return there[number % len(there)] if there else None

    @rule(number=numbers, name=names, data=contents)
    def write(self, number: int, name: str, data: bytes) -> None:
        """A new file, good or broken."""
        if root := self.mounted(number):
            self.folders.write(root, name, data)

    @rule(number=numbers, data=contents)
    def edit(self, number: int, data: bytes) -> None:
        """A file that is there gets other content, mostly of the same size."""
        if file := self.file(number):
            self.folders.write(*file, data)

    @rule(number=numbers, first=seeds)
    def write_many(self, number: int, first: int) -> None:
        """A dozen images at once."""
        if root := self.mounted(number):
            for seed in range(first, first + 12):
                self.folders.write(root, f"{seed:02}.png", picture(seed))

    @rule(number=numbers)
    def touch(self, number: int) -> None:
        """A file gets another time."""
        if file := self.file(number):
            self.folders.touch(*file)

    @rule(number=numbers)
    def delete(self, number: int) -> None:
        """A file is deleted."""
        if file := self.file(number):
            self.folders.delete(*file)

    @rule(number=numbers)
    def delete_many(self, number: int) -> None:
        """All files of a root are deleted but for the first."""
        if root := self.mounted(number):
            for name in sorted(self.folders.files[root])[1:]:
                self.folders.delete(root, name)

    @rule(number=numbers, to=numbers, name=names)
    def rename(self, number: int, to: int, name: str) -> None:
        """A file gets another name, perhaps in another root and over another file."""
        if (file := self.file(number)) and (root := self.mounted(to)) and file != (root, name):
            self.folders.rename(*file, root, name)

    @rule(root=roots, leave_folder=st.booleans())
    def unmount(self, root: str, leave_folder: bool) -> None:
        """A root goes away."""
        if root not in self.folders.unmounted:
            self.folders.unmount(root, leave_folder=leave_folder)

    @rule(root=roots)
    def mount(self, root: str) -> None:
        """A root comes back."""
        if root in self.folders.unmounted:
            self.folders.mount(root)

    @rule(root=roots)
    def deny(self, root: str) -> None:
        """A folder cannot be read, or can be read again."""
        self.folders.unread ^= {root}

    @rule(root=roots)
    def add(self, root: str) -> None:
        """A root is named; one that is not there or holds nothing is refused."""
        change = Change(add=(self.base / root,))
        if root in self.held or self.folders.listed(root):
            self.prepare(change)
        else:
            with pytest.raises(ConfigError, match=r"there (is|are) no"):
                save_embedding.save_embeddings(self.loaded, change)
            assert read(self.embeddings) == self.found

    @precondition(lambda self: len(self.held) > 1)
    @rule(number=numbers)
    def remove(self, number: int) -> None:
        """A root is given up, mounted or not."""
        root = sorted(self.held)[number % len(self.held)]
        self.prepare(Change(remove=(self.base / root,)))

    @rule()
    def look_again(self) -> None:
        """The hourly run; another one right after it has nothing to do."""
        self.prepare()
        again = save_embedding.save_embeddings(self.loaded)
        assert (again.read, again.images, read(self.embeddings)) == (0, len(self.found), self.found)

    @rule()
    def accept(self) -> None:
        """The operator agrees that what is absent leaves."""
        self.prepare(accept_loss=True)

    @rule(after=st.integers(0, 5))
    def fail(self, after: int) -> None:
        """A run that fails on the way changes nothing that can be searched."""
        self.tower.seen, self.tower.fails_after = [], after
        try:
            save_embedding.save_embeddings(self.loaded)
        except RuntimeError:
            assert read(self.embeddings) == self.found
        else:
            self.found = self.checked(set(self.held), accept_loss=False)
        finally:
            self.tower.fails_after = None

    @invariant()
    def nothing_is_half_written(self) -> None:
        """No temporary file stays."""
        assert not list(self.base.glob("data/*/*.tmp"))

    def prepare(self, change: Change = save_embedding.NO_CHANGE, accept_loss: bool = False) -> None:
        """Run prepare, and compare what it collected with what it must."""
        stored = self.stored()
        self.tower.seen = []
        held = self.held | {path.name for path in change.add}
        held -= {path.name for path in change.remove}
        run = save_embedding.save_embeddings(self.loaded, change, accept_loss=accept_loss)
        assert len(set(self.tower.seen)) == len(self.tower.seen) == run.embedded
        assert stored.isdisjoint(self.tower.seen), "embedded before"
        self.found = self.checked(held, accept_loss=accept_loss)
        offline = [path for path, found in self.found.items() if found.is_offline]
        assert sum(run.offline.values()) == len(offline)
        assert run.images == len(self.found)
        self.held = held
        if self.found:
            assert build_index.build(self.loaded).count == len(self.found)

    def checked(self, held: set[str], *, accept_loss: bool) -> dict[str, Found]:
        """What is to be indexed, after it was compared with what must be."""
        now = read(self.embeddings)
        check(self.found, now, self.folders, held, self.tower, accept_loss=accept_loss)
        return now

    def stored(self) -> set[bytes]:
        """The vectors of all finished chunks."""
        entries = self.embeddings.entries()
        return {row.tobytes() for entry in entries for row in self.embeddings.vectors(entry)}


def test_no_image_is_ever_lost_or_shown_wrong() -> None:
    """Roots come and go, files move, break, change and are deleted, runs fail; names are odd."""
    run_machine(Machine, EXAMPLES, STEPS)
