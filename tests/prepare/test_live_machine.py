"""Whatever is written live, and whatever becomes of files, servers have what they must have."""

import shutil
import tempfile
from contextlib import ExitStack, suppress
from itertools import count
from pathlib import Path
from typing import Any
from unittest.mock import patch

import msgspec
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    rule,
)

from common.config import Loaded, parse
from common.errors import ConfigError
from common.files import content_hash
from prepare import build_index, chunk_tasks, fold, save_embedding
from prepare.chunks import EmbeddingFolder
from prepare.live_log import live_log
from prepare.live_writes import write_live
from prepare.rollback import roll_back
from search.image_key import image_id, key_of
from search.log import Entry
from search.manifest import folders_of, manifest_in_use
from search.messages import Record
from tests.prepare.folders import Folders, picture
from tests.prepare.machines import run_machine
from tests.prepare.search_servers import SearchServers
from tests.prepare.server_pair import ServerPair
from tests.prepare.stub_tower import MAX_PIXELS, SPACE, StubTower

CONFIG = f"""{{"Prepare": {{"images": ["photos"], "chunk-size": 2, "threads": 1}},
  "Inference": {{"max-pixels": {MAX_PIXELS}}},
  "Search": {{"server-list": ["127.0.0.1:1"], "shards": 1}}}}"""
NAMES = ("a.png", "b.png", "deep/c.png", "deep/d.png")
EXAMPLES, STEPS = 10, 40
"""Of each run of the tests."""

names = st.sampled_from(NAMES)
numbers = st.integers(0, 100)
fields = st.dictionaries(st.sampled_from("xy"), st.integers(0, 3), max_size=2)
changes = st.dictionaries(st.sampled_from("xy"), st.none() | st.integers(0, 3), min_size=1)


class Machine(RuleBasedStateMachine):
    """Clients, people and prepare at work on one folder; no two pictures are alike."""

    def __init__(self) -> None:
        super().__init__()
        self.base = Path(tempfile.mkdtemp(prefix="live-machine"))
        self.folders = Folders(self.base)
        self.loaded = Loaded(parse(CONFIG), self.base)
        self.embeddings = EmbeddingFolder(self.base / "data/embeddings")
        self.tower, self.servers, self.seeds = StubTower(), SearchServers(self.loaded), count()
        prepare = self.loaded.config.prepare
        self.index = folders_of(self.base, prepare.index_dir, prepare.path_dir, prepare.hash_dir)
        self.pair = ServerPair(self.loaded, self.index)
        self.images: dict[str, tuple[str, dict[str, Any]]] = {}
        self.removed: set[tuple[str, str]] = set()
        self.looked_at: dict[str, str] = {}
        self.put_vectors: set[bytes] = set()
        self.is_back = False
        self._patches = ExitStack()
        model: dict[str, Any] = {
            "load_model": lambda *_, **__: self.tower.model(),
            "space_of_model": lambda *_: SPACE,
        }
        self._patches.enter_context(patch.multiple(chunk_tasks, **model))
        self._patches.enter_context(patch.object(fold, "find_model", lambda name, _: Path(name)))

    def teardown(self) -> None:
        """Leave nothing."""
        self.pair.close()
        self._patches.close()
        shutil.rmtree(self.base)

    @initialize()
    def begin(self) -> None:
        """A file that nobody touches, so that the folder is never empty."""
        self.folders.write("photos", "stays.png", picture(next(self.seeds)))
        self.folders.write("photos", "a.png", picture(next(self.seeds)))
        self.prepare()

    def files(self) -> dict[str, bytes]:
        """The files that are there, by path."""
        return {f"photos/{name}": data for name, data in self.folders.files["photos"].items()}

    def known(self, number: int) -> tuple[str, str] | None:
        """The path and the content of an image that can be searched."""
        paths = sorted(self.images)
        return (paths[number % len(paths)], self.images[paths[number % len(paths)]][0])

    def append(self, *entries: Entry) -> None:
        """Write to the log."""
        with live_log(self.loaded) as log:
            assert log is not None
            log.append(entries)

    @rule(name=names)
    def write(self, name: str) -> None:
        """A new file, or other content of one that is there."""
        self.folders.write("photos", name, picture(next(self.seeds)))

    @rule(name=names)
    def unlink(self, name: str) -> None:
        """A file is deleted."""
        if name in self.folders.files["photos"]:
            self.folders.delete("photos", name)

    @rule(name=names, to=names)
    def rename(self, name: str, to: str) -> None:
        """A file is moved to a path where there is none."""
        held = self.folders.files["photos"]
        if name in held and to not in held:
            self.folders.rename("photos", name, "photos", to)

    @rule(number=numbers, metadata=fields)
    def put(self, number: int, metadata: dict[str, Any]) -> None:
        """A file is put."""
        paths = sorted(self.files())
        path = paths[number % len(paths)]
        data = self.files()[path]
        content, vector = content_hash(data), self.tower.vector_of(data)
        key = key_of(content, path, "0" * 16)
        record = msgspec.msgpack.encode(Record(path, metadata))
        self.append(Entry("put", key, SPACE, vector, record))
        self.put_vectors.add(vector)
        self.images[path] = content, metadata
        self.removed.discard((path, content))

    @rule(number=numbers)
    def delete(self, number: int) -> None:
        """An image is deleted; some other client deletes what is not there."""
        self.append(Entry("delete", bytes(16)))
        if len(self.images) > 1 and (known := self.known(number)):
            path, content = known
            self.append(Entry("delete", key_of(content, path, "")[:16]))
            del self.images[path]
            self.removed.add(known)

    @rule(number=numbers, change=changes)
    def patch(self, number: int, change: dict[str, Any]) -> None:
        """The metadata of an image is changed."""
        if self.images and (known := self.known(number)):
            path, content = known
            record = msgspec.msgpack.encode(change)
            self.append(Entry("patch", key_of(content, path, "")[:16], record=record))
            metadata = self.images[path][1] | change
            kept = {name: value for name, value in metadata.items() if value is not None}
            self.images[path] = content, kept

    def look(self) -> None:
        """What a run finds: what was written, and what became of files."""
        files = {path: content_hash(data) for path, data in self.files().items()}
        before = {content: path for path, (content, _) in self.images.items() if path not in files}
        gone = {content: path for path, content in self.removed if path not in files}
        now: dict[str, tuple[str, dict[str, Any]]] = {}
        for path, content in files.items():
            if (path, content) in self.removed:
                continue
            if path in self.images:
                now[path] = content, self.images[path][1]
            elif content in before:
                now[path] = content, self.images[before[content]][1]
            elif content in gone and self.looked_at.get(gone[content]) == content:
                self.removed.add((path, content))
            else:
                now[path] = content, {}
        self.images, self.looked_at = now, files

    @rule()
    def prepare(self) -> None:
        """A run with a new version."""
        self.tower.seen = []
        run = save_embedding.save_embeddings(self.loaded)
        assert self.put_vectors.isdisjoint(self.tower.seen), "the log has its embedding"
        self.look()
        self.end(build=not self.images or run.images > 0)

    @rule()
    def watch(self) -> None:
        """A run whose changes go to the log."""
        run = save_embedding.save_embeddings(self.loaded)
        self.look()
        self.end(build=write_live(self.loaded, run) is None)

    @rule()
    def fail(self) -> None:
        """A run that fails on the way."""
        self.tower.seen, self.tower.fails_after = [], 0
        try:
            save_embedding.save_embeddings(self.loaded)
        except RuntimeError:
            pass
        else:
            self.look()
            self.end(build=True)
        finally:
            self.tower.fails_after = None

    def end(self, *, build: bool) -> None:
        """Servers have what they must have; they could also go back."""
        if build and self.images:
            self.servers.built(self.embeddings, build_index.build(self.loaded))
        expected = {
            image_id(key_of(content, path, "")): (path, metadata)
            for path, (content, metadata) in self.images.items()
        }
        self.is_back = self.is_back and not build
        if self.images:
            assert self.found() == expected or self.is_back

    @rule(number=st.integers(0, 1))
    def restart(self, number: int) -> None:
        """A search server ends and starts again."""
        self.pair.restart(number)

    @rule()
    def roll_back(self) -> None:
        """The version before is in use again, until prepare runs; the log is as it was."""
        with suppress(ConfigError):  # there is none before the first
            roll_back(self.index)
            self.is_back = True
            self.found()

    def found(self) -> dict[str, tuple[str, dict[str, Any]]]:
        """What the version in use and the log make; both replicas find the same."""
        made = self.servers.images(manifest_in_use(self.index))
        assert [made, made] == self.pair.images()
        return made


def test_servers_have_what_was_written() -> None:
    """Files are written, moved and deleted, images are put, patched and deleted, runs fail."""
    run_machine(Machine, EXAMPLES, STEPS)
