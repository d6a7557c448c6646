"""Indexes of made vectors without images, built in this process as by prepare/build_index.py."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from common.config import Loaded, parse
from common.files import content_hash, location_hash
from common.wire import Matrix
from devtools.vectors import unit
from prepare import build_index
from prepare.chunks import Chunk, EmbeddingFolder, Row
from prepare.members import Member, write_members
from prepare.parts import WHOLE_RUN, DoAll
from search.image_key import hashes_of
from search.manifest import Folders, Manifest, folders_of
from search.messages import Record
from search.version import Version, load_version

MANY, DIM = 400, 8
VECTORS: Matrix = unit(np.random.default_rng(0).standard_normal((MANY, DIM), dtype=np.float32))
"""Image i has vector i; 40 images have one vector, in the bases and recent segments of tests."""
VECTORS[80:120] = VECTORS[80]


def content_of(number: int) -> str:
    """The content hash of an image, in hex."""
    return content_hash(number.to_bytes(2))


def key_of(number: int) -> bytes:
    """The IMAGE_KEY of an image."""
    location = location_hash(f"{number}.jpg")
    return bytes.fromhex(content_of(number)) + location.to_bytes(8) + bytes(8)


class VectorIndex:
    """A collection of some of the images, each with a year, and its index."""

    def __init__(self, root: Path, shards: int = 1, **prepare: Any) -> None:
        self.root = root
        self.years: dict[int, int] = {}
        self._config = {"Search": {"server-list": ["127.0.0.1:1"], "shards": shards}}
        self._config["Prepare"] = {key.replace("_", "-"): value for key, value in prepare.items()}
        embeddings = EmbeddingFolder(self.loaded.path(self.loaded.config.prepare.embedding_dir))
        if not embeddings.path.exists():
            embeddings.path.mkdir(parents=True)
            rows = [Row(f"{i}.jpg", 1, 0, content_of(i), "0") for i in range(MANY)]
            embeddings.write(1, Chunk(VECTORS, rows, []), "model", "space")
        self._embeddings = embeddings

    @property
    def loaded(self) -> Loaded:
        """The configuration."""
        return Loaded(parse(json.dumps(self._config)), self.root)

    @property
    def folders(self) -> Folders:
        """The folders of the index."""
        prepare = self.loaded.config.prepare
        return folders_of(self.root, prepare.index_dir, prepare.path_dir, prepare.hash_dir)

    def add(self, numbers: Iterable[int], year: int = 2000) -> "VectorIndex":
        """Add images, or change their year."""
        self.years |= dict.fromkeys(numbers, year)
        return self

    def remove(self, numbers: Iterable[int]) -> "VectorIndex":
        """Remove images."""
        for number in numbers:
            del self.years[number]
        return self

    def build(self, do_all: DoAll = WHOLE_RUN.do_all) -> Manifest:
        """Build the next version; it holds just what it must, and so do the folders."""
        members = [
            Member(f"{i}.jpg", 1, 0, 1, i, content_of(i), metadata={"year": year})
            for i, year in self.years.items()
        ]
        write_members(self._embeddings, members)
        manifest = build_index.build(self.loaded, do_all)
        version = load_version(self.folders, manifest.named, range)
        version.put_in_use()
        check(version, self.years)
        assert manifest.count == len(self.years) == sum(one.count for one in manifest.shards)
        return manifest


def check(version: Version, years: dict[int, int]) -> None:
    """Compare what a version holds and finds with what it must."""
    assert len(years) == sum(one.count for one in version.shards.values())
    rows = np.array(sorted(years))
    for query in VECTORS[:5]:
        found: dict[int, float] = {}
        for shard in version.shards.values():
            (hits,) = shard.rank(query[None], [MANY], MANY, 1).hits()
            records = [msgspec.msgpack.decode(one, type=Record) for one in hits.records]
            assert all(one.metadata["year"] == years[number_of(one)] for one in records)
            scores = np.frombuffer(hits.scores, "<f4").tolist()
            found |= dict(zip(map(number_of, records), scores, strict=True))
        assert sorted(found) == rows.tolist()
        np.testing.assert_allclose([found[i] for i in rows], VECTORS[rows] @ query, atol=1e-5)
    for number in range(0, MANY, 7):
        content_and_location = hashes_of(key_of(number))
        images = [shard.find(*content_and_location) for shard in version.shards.values()]
        assert any(images) == (number in years)


def number_of(record: Record) -> int:
    """The number of an image."""
    return int(record.path.partition(".")[0])
