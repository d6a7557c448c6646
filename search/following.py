"""The thread of a search server that applies the log to the loaded versions."""

import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from functools import partial

from prometheus_client import Gauge

from common.errors import ServiceError, Unavailable
from common.metrics import DELTA_ROWS, LOG_POSITION, PREPARE_DUE, TOMBSTONES
from search.log import Entries, Log, LogGap
from search.manifest import VersionRef
from search.shard import Shard
from search.version import Version

logger = logging.getLogger(__name__)

BATCH = 1000
"""Entries that are read at a time: 2 to 3 MB."""
WAIT_S = 0.25
"""The longest wait for an entry, and so for the end of the thread."""
TRY_AGAIN_S = 1.0
DUE_ROWS, DUE_SHARE, DUE_TOMBSTONES = 1000, 0.05, 0.3
"""A shard is due at this many rows in its delta, if they are this share of it, or at this share of
tombstones: measured in docs/decisions/020-live-index.md."""


class Following:
    """Applies each entry to each loaded version, which has its own place in the log."""

    def __init__(self, log: Log | None, versions: Callable[[], Sequence[Version]]) -> None:
        """`versions` gives those in use, the newest first. This closes the log.

        Without a log, every version stays as it was made.
        """
        self._log = log
        self._unready: Version | None = None  # loaded, but without what is in the log
        self._versions = versions
        self._is_told = False
        self._applying = threading.Lock()
        self._closed = threading.Event()
        follow = partial(self._follow, log) if log else None
        self._thread = threading.Thread(target=follow, name="follow", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        if self._log:
            for gauge, measure in MEASURES.items():  # measured when someone asks for metrics
                gauge.set_function(partial(self._of_newest, measure))
            self._thread.start()

    def close(self) -> None:
        """End the thread and close the log."""
        if self._log:
            self._closed.set()
            self._thread.join()
            self._log.close()

    def ready(self, named: VersionRef, load: Callable[[VersionRef], Version]) -> Version:
        """A version with all that is in the log; raises Unavailable, and what `load` raises.

        Without its log, the version is kept here: the next try loads nothing again.
        """
        version = self._unready
        if version is None or version.manifest.named != named:
            version = load(named)
        self._unready = version
        if self._log:
            catch_up(version, self._log)
        self._unready = None
        return version

    def swap(self, version: Version, put_in_use: Callable[[], None]) -> None:
        """Put a version in use, with all that another one has of the log; raises Unavailable.

        Versions share segments: what only another one knew to be deleted would be found again.
        """
        with self._applying:
            in_use = self._versions()
            if self._log and version.position < max((v.position for v in in_use), default=0):
                if version not in in_use:
                    self._unready = version  # until the log is there
                catch_up(version, self._log)
                self._unready = None
            put_in_use()

    def _follow(self, log: Log) -> None:
        while not self._closed.is_set():
            try:
                self._step(log)
                self._is_told = False
            except ServiceError as error:
                if not self._is_told:
                    logger.error("nothing new is found: %s", error.detail)
                self._is_told = True
                self._closed.wait(TRY_AGAIN_S)
            except Exception:  # the edge of the thread: the next try may succeed
                logger.exception("following the log failed")
                self._closed.wait(TRY_AGAIN_S)

    def _step(self, log: Log) -> None:
        versions = self._versions()
        for version in versions:
            with self._applying:
                catch_up(version, log)
        followed = [version.position for version in versions if not version.stopped]
        if not followed:
            self._closed.wait(WAIT_S)
            return
        log.wait(min(followed), WAIT_S)

    def _of_newest(self, measure: Callable[[Version], float]) -> float:
        return next(map(measure, self._versions()), 0.0)


def catch_up(version: Version, log: Log) -> None:
    """Apply all entries that a version has not; raises Unavailable without the log.

    A log that does not go on where the version is stops it; searches go on.
    """
    try:
        while not version.stopped and (entries := _next(version, log)):
            version.apply(entries)
            if len(entries) < BATCH:  # they were all
                return
    except LogGap as error:
        version.stop(str(error))


def _next(version: Version, log: Log) -> Entries:
    """The entries that come next, of the log that the version follows."""
    entries, gap = Entries(), None
    try:
        entries = log.read(version.position, BATCH)
    except LogGap as error:
        gap = error
    found = log.id()  # read after the entries, which therefore are of this log
    if version.log_id not in ("", found):
        if not found:
            raise Unavailable("the log of puts and deletes is not there", "log_unavailable")
        raise LogGap("it is another log than the index was made with")
    if gap:
        raise gap
    version.log_id = found
    return entries


def is_due(shard: Shard) -> bool:
    """Whether prepare should make the delta and the tombstones of a shard part of its index."""
    rows = sum(part.rows for part in shard.parts)
    has_grown = shard.delta.rows >= max(DUE_ROWS, DUE_SHARE * rows)
    return has_grown or shard.tombstones > DUE_TOMBSTONES * rows


MEASURES: Mapping[Gauge, Callable[[Version], float]] = {
    LOG_POSITION: lambda version: version.position,
    DELTA_ROWS: lambda version: sum(shard.delta.rows for shard in version.shards.values()),
    TOMBSTONES: lambda version: sum(shard.tombstones for shard in version.shards.values()),
    PREPARE_DUE: lambda version: any(map(is_due, version.shards.values())),
}
