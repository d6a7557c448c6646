"""A loaded index version, and what of the log it has."""

import logging
import threading
import time
from collections.abc import Callable, Iterable, Sequence

import msgspec
import numpy as np

from common.errors import Unavailable
from common.metrics import LOG_REFUSED
from common.wire import UNREADABLE, Matrix
from search.fields import MAX_FIELDS, fields_of_record, kind_of
from search.filter import Value
from search.image_key import IMAGE_KEY, hashes_of, shard_of
from search.log import Entries, Entry
from search.manifest import BadIndex, Folders, Manifest, OtherModel, VersionRef, manifest_of
from search.messages import Fields, Metadata, Record
from search.shard import Shard
from search.shard_loading import Segments, load_shard

log = logging.getLogger(__name__)

Choose = Callable[[int], Sequence[int]]
"""Gives the shards that a server holds, from the shard count of the index."""
MAX_WAITING = 4
"""Requests that wait for a position at a time; others are answered meanwhile."""
MAX_WAIT_S, WAIT_SHARE = 5.0, 0.8
"""For a position: at most so long, and so much of the time that is left. The rest is for the search
and for the answer."""


class Version:
    """A version, the shards of it that this server holds, and its place in the log.

    One thread applies entries; any thread may search.
    """

    def __init__(
        self, manifest: Manifest, shards: dict[int, Shard], segments: Segments | None = None
    ) -> None:
        """`segments` are those of the shards, which other versions may share."""
        self.manifest = manifest
        self.shards = shards
        self.segments = segments or {}
        self.fields: Fields = {}
        """What filters can test, in this version and in what was put since."""
        self._know(manifest.fields)
        self.log_id = manifest.log_id
        """Of the log that it follows; "" before the first entry."""
        self.position = manifest.log_position
        """Of the last entry that was applied."""
        self.stopped = ""
        """Why it does not follow the log any more; "" while it does."""
        self._moved = threading.Condition()
        self._waiting = 0

    def put_in_use(self) -> None:
        """Have searches leave out what this version has not, and what the log has deleted of it.

        Versions share segments: what is deleted is gone from the version before, too.
        """
        for segment in self.segments.values():
            segment.put_in_use()

    def apply(self, entries: Entries) -> None:
        """Apply the entries that come next. One that cannot be applied is told and left out."""
        for position, entry in entries:
            try:
                self._apply(entry)
            except (ValueError, *UNREADABLE) as error:
                LOG_REFUSED.inc()
                log.error("entry %d of the log is left out: %s", position, error)
        with self._moved:
            self.position = entries[-1][0]
            self._moved.notify_all()

    def stop(self, reason: str) -> None:
        """Follow the log no more; searches go on."""
        log.error("%s follows the log no more: %s", self.manifest.version, reason)
        with self._moved:
            self.stopped = reason
            self._moved.notify_all()

    def wait_for(self, position: int, deadline: float) -> None:
        """Wait for the entries up to a position; raises Unavailable `behind`."""
        if self.position >= position:
            return
        limit_s = min(WAIT_SHARE * (deadline - time.monotonic()), MAX_WAIT_S)
        with self._moved:
            if self._waiting < MAX_WAITING:
                self._waiting += 1
                self._moved.wait_for(lambda: self.position >= position or self.stopped, limit_s)
                self._waiting -= 1
        if self.position < position:
            raise Unavailable(
                f"a search server has the changes up to {self.position}, not {position}", "behind"
            )

    def _apply(self, entry: Entry) -> None:
        content, _ = hashes_of(entry.key)
        count, sharding = len(self.manifest.shards), self.manifest.sharding
        shard = self.shards.get(shard_of(content, count, sharding))
        if entry.op == "put":
            record = msgspec.msgpack.decode(entry.record, type=Record)
            vector = self._checked(entry)
            self._learn(fields_of_record(record).items())
            if shard:
                shard.put(entry.key, vector, entry.record)
        elif entry.op == "patch":
            metadata = msgspec.msgpack.decode(entry.record, type=Metadata)
            self._learn(metadata.items())
            if shard:
                shard.patch(entry.key, metadata)
        elif shard:
            shard.delete(entry.key)

    def _checked(self, entry: Entry) -> Matrix:
        """The vector of a put; raises ValueError for a put that no shard can take."""
        if entry.space != self.manifest.space:
            raise ValueError("it is of another model than the index")
        vector = np.frombuffer(entry.vector, "<f4")
        is_unit = len(vector) == self.manifest.dim and abs(vector @ vector - 1) < 1e-3
        if not is_unit or len(entry.key) != IMAGE_KEY.itemsize:
            raise ValueError("its vector or its key is none")
        return vector

    def _learn(self, values: Iterable[tuple[str, Value | None]]) -> None:
        """Add the fields of an image, whichever server holds it, so that all know the same."""
        for name, value in values:
            known = self.fields.get(name, [])
            is_new = value is not None and kind_of(value) not in known
            if is_new and (known or len(self.fields) < MAX_FIELDS):
                self._know({**self.fields, name: sorted([*known, kind_of(value)])})

    def _know(self, fields: Fields) -> None:
        """Have filters test these fields, also of images that are put from now on."""
        self.fields = fields
        for shard in self.shards.values():
            shard.delta.fields = fields


def load_version(
    folders: Folders, named: VersionRef, choose: Choose, held: Sequence[Version] = ()
) -> Version:
    """Load and verify the chosen shards of a version; raises BadIndex, MissingPackage.

    It shares the segments of `held` versions, and is of their model. The caller puts it in use.
    """
    manifest = manifest_of(folders, named)
    if held and held[0].manifest.space != manifest.space:
        raise OtherModel(
            f"{named.version} is of another model, {manifest.model}: "
            "start this server and inference anew to change it"
        )
    known = {key: part for version in held for key, part in version.segments.items()}
    total, shards, segments = len(manifest.shards), dict[int, Shard](), Segments()
    try:
        for number in choose(total):
            if number < total:
                loaded = load_shard(folders, manifest, number, known)
                shards[number] = Shard(list(loaded.values()))
                segments |= loaded
    except BadIndex as error:
        raise BadIndex(f"{named.version}: {error}") from None
    return Version(manifest, shards, segments)
