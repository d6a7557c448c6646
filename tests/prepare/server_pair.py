"""Two replicas of a search server in this process, and what they find."""

import time
from typing import Any

import msgspec
import numpy as np

from common.config import Loaded
from devtools.vectors import unit
from prepare.live_log import live_log
from search.image_key import IMAGE_KEY, image_id
from search.index_versions import IndexVersions
from search.log import open_log
from search.manifest import Folders
from search.messages import Record
from tests.prepare.search_servers import Image

ALL = 1000
WITHIN_S = 10.0
RELOAD_S = 3600.0
"""They look for a new version when they are asked."""


class ServerPair:
    """Both hold all shards, and follow the log. They start when they are first asked."""

    def __init__(self, loaded: Loaded, folders: Folders) -> None:
        self._loaded = loaded
        self._folders = folders
        self._running: list[IndexVersions] = []

    def restart(self, number: int) -> None:
        """End one of them and start it anew, as after a kill: it kept nothing on a disk."""
        if self._running:
            self._running[number].close()
            self._running[number] = self._started()

    def close(self) -> None:
        """End both."""
        for versions in self._running:
            versions.close()

    def images(self) -> list[dict[str, Image]]:
        """The images that each finds at the end of the log, by id."""
        self._running = self._running or [self._started(), self._started()]
        with live_log(self._loaded) as log:
            end = log.end() if log else 0
        return [_images(versions, end) for versions in self._running]

    def _started(self) -> IndexVersions:
        log = open_log(self._loaded.config.log, self._loaded.root)
        versions = IndexVersions(self._folders, range, RELOAD_S, changes=log)
        versions.start()
        return versions


def _images(versions: IndexVersions, end: int) -> dict[str, Image]:
    versions.refresh()
    assert versions.refusal is None, versions.refusal
    version = versions.newest()
    version.wait_for(end, time.monotonic() + WITHIN_S)
    query = unit(np.ones((1, version.manifest.dim), np.float32))
    found: dict[str, Any] = {}
    for shard in version.shards.values():
        (hits,) = shard.rank(query, [ALL], ALL, 1).hits()
        for key, packed in zip(np.frombuffer(hits.keys, IMAGE_KEY), hits.records, strict=True):
            record = msgspec.msgpack.decode(packed, type=Record)
            found[image_id(key.tobytes())] = record.path, record.metadata
    return found
