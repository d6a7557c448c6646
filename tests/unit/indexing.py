"""Index versions without images, for tests."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from common.wire import Matrix
from search.ann_index import Build
from search.image_key import IMAGE_KEY
from search.index import SegmentRows, write_shard
from search.manifest import DISTANCE, Folders, Manifest, Recall, write_manifest
from search.messages import Record

BUILD = Build("hnsw", 16, 100, 1, 64)


def folders_in(root: Path) -> Folders:
    """The three folders of versions."""
    folders = Folders(root / "index", root / "paths", root / "hashes")
    for folder in folders.all():
        folder.mkdir(exist_ok=True)
    return folders


def write_version(
    folders: Folders, version: str, vectors: Matrix, shards: Sequence[int] = (0,), inputs: str = ""
) -> Manifest:
    """Write a version: image i has the vector i and lies in shard i modulo their number."""
    for folder in folders.all():
        (folder / version).mkdir(exist_ok=True)
    files = []
    for shard in shards:
        chosen = np.arange(shard, len(vectors), len(shards))
        keys = np.zeros(len(chosen), IMAGE_KEY)
        keys["content"] = chosen
        records = [Record(f"{number}.jpg") for number in chosen]
        files.append(
            write_shard(folders, version, shard, SegmentRows(vectors[chosen], keys, records), BUILD)
        )
    count, dim = vectors.shape
    recall = Recall(1, 1, 64, 1.0)
    return write_manifest(
        folders,
        Manifest(
            *(version, "today", "clip", "space", 0, dim, DISTANCE, 16, 100),
            *(count, inputs, recall, files),
        ),
    )
