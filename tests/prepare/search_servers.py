"""What search servers hold: a version, and the entries of the log after it."""

from typing import Any

import msgspec

from common.config import Loaded
from prepare.chunks import EmbeddingFolder
from prepare.collection import read_collection
from prepare.live_log import live_log
from search.image_key import image_id
from search.manifest import Manifest
from search.messages import Record

Image = tuple[str, dict[str, Any]]
"""The path and the metadata."""


class SearchServers:
    """The images of search servers by id, without an index."""

    def __init__(self, loaded: Loaded) -> None:
        self._loaded = loaded
        self._versions: dict[str, dict[str, Image]] = {}

    def built(self, embeddings: EmbeddingFolder, manifest: Manifest) -> None:
        """A version was built from the collection as it is now, or is in use again."""
        if manifest.version not in self._versions:
            collection = read_collection(embeddings)
            self._versions[manifest.version] = {
                image_id(key.tobytes()): (record.path, record.metadata)
                for key, record in zip(collection.keys, collection.records, strict=True)
            }

    def images(self, manifest: Manifest) -> dict[str, Image]:
        """What a server has that replays the log behind a version."""
        found = dict(self._versions[manifest.version])
        with live_log(self._loaded) as log:
            assert log is not None
            assert manifest.log_id in ("", log.id())
            entries = log.read(manifest.log_position, 10_000)
        for _, entry in entries:
            name = image_id(entry.key)
            if entry.op == "put":
                record = msgspec.msgpack.decode(entry.record, type=Record)
                found[name] = record.path, record.metadata
            elif name in found and entry.op == "patch":
                path, metadata = found[name]
                metadata = metadata | msgspec.msgpack.decode(entry.record)
                kept = {field: value for field, value in metadata.items() if value is not None}
                found[name] = path, kept
            elif entry.op == "delete":
                found.pop(name, None)
        return found
