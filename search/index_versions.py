"""The index versions in a search server: the version in use and, for a while, the previous."""

import logging
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from itertools import chain
from typing import TYPE_CHECKING, NamedTuple

from common.errors import MissingPackage, NotFound, Unavailable
from common.metrics import INDEX_IN_USE, INDEX_REFUSED
from search.following import Following
from search.log import Log
from search.manifest import (
    BadIndex,
    Current,
    Folders,
    VersionRef,
    newest_first,
    read_current,
)
from search.version import Choose, Version, load_version

if TYPE_CHECKING:  # it needs a package that is only for object storage
    from search.version_cache import VersionCache

log = logging.getLogger(__name__)

KEEP_OLD_S = 30.0
"""The previous version is kept for this time after a swap, and after each query for its digest.
Other servers may still load the new version, or may have refused it."""
TRY_AGAIN_S = 60.0
"""A refused version is tried again after this time: its files may have arrived since."""

CLOSE_S = 5.0
"""A look may wait longer for an object storage that does not answer: the process ends all the same.
"""
MayLoad = Callable[[Current], bool]
"""Says whether the version that CURRENT names may be loaded now (`turns.Turns`)."""


def at_once(_current: Current) -> bool:
    """May load any version now."""
    return True


class Refusal(NamedTuple):
    """The last refusal: the version, None if CURRENT cannot be read; why; and when, in seconds."""

    named: VersionRef | None
    reason: str
    at: float


class IndexVersions:
    """Follows CURRENT: loads a new version beside the old version, then swaps them."""

    def __init__(
        self,
        folders: Folders,
        choose: Choose,
        reload_s: float,
        now: Callable[[], float] = time.monotonic,
        may_load: MayLoad = at_once,
        cache: "VersionCache | None" = None,
        changes: Log | None = None,
    ) -> None:
        """`may_load` is asked before a version is loaded beside another one.

        With a `cache`, the versions come from an object storage. `changes` is the log of puts and
        deletes, which this follows, and closes at the end.
        """
        self.refusal: Refusal | None = None
        """Why the version that CURRENT names was refused; None when that version is in use."""
        self._following = Following(changes, lambda: self._versions)
        self._delay = Unavailable("no index is loaded: run prepare first", "no_index")
        self._folders = folders
        self._choose = choose
        self._cache = cache
        self._reload_s = reload_s
        self._now = now
        self._may_load = may_load
        self._versions: list[Version] = []  # the newest first
        self._wanted = 0.0  # when the previous version was last needed
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._follow, name="reload", daemon=True)

    def start(self) -> None:
        """Load the version in use, if any, then follow CURRENT; raises MissingPackage."""
        self.refresh()
        self._thread.start()
        self._following.start()

    def close(self) -> None:
        """Stop following CURRENT and the log."""
        self._closed.set()
        self._thread.join(CLOSE_S)
        self._following.close()

    @property
    def store_error(self) -> str:
        """Why the object storage is not followed now; "" if it is, and without one."""
        return self._cache.error if self._cache else ""

    def newest(self) -> Version:
        """The version in use; raises Unavailable before the first is loaded."""
        if not self._versions:
            raise self._delay
        return self._versions[0]

    def get(self, version_digest: str | None) -> Version:
        """The version with that digest, or the newest for None; raises NotFound."""
        newest, *others = self._versions or [self.newest()]
        if version_digest in (None, newest.manifest.named.sha256):
            return newest
        for version in others:
            if version.manifest.named.sha256 == version_digest:
                self._wanted = self._now()
                return version
        raise NotFound("no version with this digest is loaded", "no_such_version")

    def refresh(self) -> None:
        """Put the version that CURRENT names in use.

        A version that cannot be loaded is refused, and tried again later. One that cannot be
        fetched now waits; so does one that lacks what the log has, as it would find what was
        deleted: see `_activate`. Raises MissingPackage.
        """
        current = None
        try:
            current = self._current()
            if current and self._is_due(current.now) and self._has_turn(current):
                self._activate(current.now)
                self.refusal = None
        except BadIndex as error:
            self._refuse(current, str(error))
        except Unavailable as error:
            self._wait(error)
        except MissingPackage as error:
            self._refuse(current, str(error))
            raise
        if self._now() - self._wanted > KEEP_OLD_S:
            self._versions = self._versions[:1]

    def _current(self) -> Current | None:
        return self._cache.current() if self._cache else read_current(self._folders)

    def _is_due(self, named: VersionRef) -> bool:
        refused = self.refusal
        if refused is None:
            return named not in [version.manifest.named for version in self._versions[:1]]
        return refused.named != named or self._now() - refused.at > TRY_AGAIN_S

    def _has_turn(self, current: Current) -> bool:
        """Whether loading may begin; what is loaded, or the very first version, needs no turn."""
        held = [version.manifest.named for version in self._versions]
        return not held or current.now in held or self._may_load(current)

    def _activate(self, named: VersionRef) -> None:
        """Put a version in use, and load it if needed.

        One that the log does not go on from is old, unless CURRENT names it even now: a newer one
        has what it lacks. Raises Unavailable, BadIndex, MissingPackage.
        """
        held = [version for version in self._versions if version.manifest.named == named]
        began = self._now()
        version = held[0] if held else self._following.ready(named, self._load)
        if version.stopped and not self._is_current(named):
            told = f"{named.version} may lack what was put and deleted: {version.stopped}"
            raise Unavailable(told, "log_unavailable")
        self._following.swap(version, partial(self._put_in_use, version))
        if self._cache:
            self._cache.note(named)
        self._wanted = self._now()
        INDEX_IN_USE.clear()
        INDEX_IN_USE.labels(named.version).set(1)
        shards, took_s = sorted(version.shards), self._wanted - began
        log.info("version %s: shards %s, loaded in %.3f s", named.version, shards, took_s)

    def _put_in_use(self, version: Version) -> None:
        version.put_in_use()
        self._versions = [version, *(old for old in self._versions if old is not version)][:2]

    def _is_current(self, named: VersionRef) -> bool:
        """Whether CURRENT names a version now; the first look, at a disk, may find an old one."""
        with suppress(BadIndex):
            current = self._current()
            return current is not None and current.now == named
        return False

    def _load(self, named: VersionRef) -> Version:
        load = partial(load_version, self._folders, named, self._choose, self._versions)
        return self._cache.load(named, load, self._closed.is_set) if self._cache else load()

    def _wait(self, error: Unavailable) -> None:
        if self._delay.detail != error.detail:
            log.error("a version waits: %s", error.detail)
        self._delay = error

    def _refuse(self, current: Current | None, reason: str) -> None:
        """Keep the loaded version. If none is loaded, put another version in use."""
        named = current.now if current else None
        previous, now = self.refusal, self._now()
        is_known = previous is not None and previous[:2] == (named, reason)
        if previous and is_known and now - previous.at <= TRY_AGAIN_S:
            return  # CURRENT cannot be read, which is tried at each look
        self.refusal = Refusal(named, reason, now)
        if not is_known:
            INDEX_REFUSED.inc()
            stays = self._versions[0].manifest.version if self._versions else "none"
            log.error("version refused, %s stays: %s", stays, reason)
        if not self._versions:
            self._fall_back(current)

    def _fall_back(self, current: Current | None) -> None:
        """Put the version before in use, or else the newest version that is whole."""
        before = [current.before] if current and current.before else []
        refused = current.now if current else None
        for named in chain(before, newest_first(self._folders)):
            if named == refused:
                continue
            try:
                self._activate(named)
            except BadIndex as error:
                log.error("nor is version %s whole: %s", named.version, error)
            except Unavailable as error:
                self._wait(error)
                return
            else:
                log.error("version %s is in use in its place", named.version)
                return

    def _follow(self) -> None:
        while not self._closed.wait(self._reload_s):
            try:
                self.refresh()
            except MissingPackage:
                continue  # `_refuse` has logged it
            except Exception:  # the edge of the thread: the next try may succeed
                log.exception("looking for a new version failed")
