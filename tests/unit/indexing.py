"""Index versions without images, for tests."""

from collections.abc import Sequence
from operator import itemgetter
from pathlib import Path

import numpy as np

from common.wire import Matrix
from search.ann_index import Build
from search.fields import fields_of_index
from search.image_key import IMAGE_KEY, hashes_of, shard_of
from search.manifest import DISTANCE, Folders, Manifest, Recall, write_manifest
from search.messages import Record
from search.segment_files import ShardFiles
from search.segment_writing import SegmentRows, write_segment

BUILD = Build("hnsw", 16, 100, 1, 64)


def folders_in(root: Path) -> Folders:
    """The three folders of versions."""
    folders = Folders(root / "index", root / "paths", root / "hashes")
    for folder in folders.all():
        folder.mkdir(exist_ok=True)
    return folders


def content_of(number: int, images: int) -> int:
    """The content hash of an image; those of a version are spread evenly."""
    return (number << 64) // images


def write_version(
    folders: Folders, version: str, vectors: Matrix, shards: Sequence[int] = (0,), inputs: str = ""
) -> Manifest:
    """Write a version: image i has the vector i, and the content hash `content_of(i, images)`."""
    count, dealt = len(vectors), []
    contents = np.array([content_of(number, count) for number in range(count)], np.uint64)
    for shard in shards:
        chosen = np.flatnonzero(shard_of(contents, len(shards)) == shard)
        keys = np.zeros(len(chosen), IMAGE_KEY)
        keys["content"] = contents[chosen]
        records = [Record(f"{number}.jpg") for number in chosen]
        dealt.append(SegmentRows(vectors[chosen], keys, records))
    return _write(folders, version, dealt, inputs)


def write_images(
    folders: Folders, version: str, images: Sequence[tuple[bytes, Matrix, Record]], shards: int
) -> Manifest:
    """Write a version of images with the given keys, vectors and records."""
    dealt = []
    for shard in range(shards):
        chosen = [image for image in images if shard_of(hashes_of(image[0])[0], shards) == shard]
        keys, vectors, records = zip(*sorted(chosen, key=itemgetter(0)), strict=True)
        dealt.append(
            SegmentRows(np.stack(vectors), np.frombuffer(b"".join(keys), IMAGE_KEY), records)
        )
    return _write(folders, version, dealt, "")


def _write(folders: Folders, version: str, dealt: Sequence[SegmentRows], inputs: str) -> Manifest:
    for folder in folders.all():
        (folder / version).mkdir(exist_ok=True)
    fields = fields_of_index(record for rows in dealt for record in rows.records)
    files = [
        ShardFiles([write_segment(folders, version, shard, rows, BUILD, fields)])
        for shard, rows in enumerate(dealt)
    ]
    count, dim = sum(len(rows.keys) for rows in dealt), dealt[0].vectors.shape[1]
    recall = Recall(1, 1, 64, 1.0)
    return write_manifest(
        folders,
        Manifest(
            *(version, "today", "clip", "space", 0, dim, DISTANCE, 16, 100),
            *(count, inputs, recall, files),
            fields=fields,
        ),
    )
