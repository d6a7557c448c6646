"""Live changes of a workspace, as middle writes them into its log."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from common.files import content_hash, name_of
from common.wire import Matrix
from search.image_key import image_id, key_of
from search.log import Entry, Log, open_log
from search.messages import Record
from tests.prepare.prepared_folder import Workspace

PERCEPTUAL = "0123456789abcdef"


@contextmanager
def log_of(workspace: Workspace) -> Iterator[Log]:
    """The log of a workspace."""
    log = open_log(workspace.loaded.config.log, workspace.root)
    assert log is not None
    try:
        yield log
    finally:
        log.close()


def span(workspace: Workspace) -> tuple[int, int]:
    """Where the log begins and ends."""
    with log_of(workspace) as log:
        return log.start(), log.end()


def entries(workspace: Workspace) -> list[tuple[str, str, Record | None]]:
    """The entries of the log: what each does, the id, and what a put tells."""
    with log_of(workspace) as log:
        found = log.read(log.start(), 10_000)
    return [
        (
            entry.op,
            image_id(entry.key),
            msgspec.msgpack.decode(entry.record, type=Record) if entry.op == "put" else None,
        )
        for _, entry in found
    ]


def _append(workspace: Workspace, entry: Entry) -> None:
    with log_of(workspace) as log:
        log.append([entry])


def put(workspace: Workspace, path: Path, seed: int = 0, **more: Any) -> Matrix:
    """Put a file with an embedding from a seed, which is the result.

    `more` has `space`, else it is that of the index; the rest is metadata.
    """
    manifest = workspace.manifest()
    vector = vector_of(seed, manifest.dim)
    space = more.pop("space", manifest.space)
    name = name_of(path, workspace.root)
    key = key_of(content_hash(path.read_bytes()), name, PERCEPTUAL)
    record = msgspec.msgpack.encode(Record(name, more))
    _append(workspace, Entry("put", key, space, vector.tobytes(), record))
    return vector


def delete(workspace: Workspace, image_id: str) -> None:
    """Delete an image."""
    _append(workspace, Entry("delete", bytes.fromhex(image_id)))


def patch(workspace: Workspace, image_id: str, **metadata: Any) -> None:
    """Change the metadata of an image."""
    record = msgspec.msgpack.encode(metadata)
    _append(workspace, Entry("patch", bytes.fromhex(image_id), record=record))


def id_of(workspace: Workspace, path: Path) -> str:
    """The id of the image that a file is."""
    key = key_of(content_hash(path.read_bytes()), name_of(path, workspace.root), PERCEPTUAL)
    return image_id(key)


def vector_of(seed: int, dim: int) -> Matrix:
    """A unit vector that no model gave."""
    vector: Matrix = np.random.default_rng(seed).standard_normal(dim).astype(np.float32)
    return vector / np.linalg.norm(vector)


def metadata_of(workspace: Workspace) -> dict[str, Any]:
    """What the index tells of each image, by path."""
    return {record.path: record.metadata for record in workspace.indexed().values()}
