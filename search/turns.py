"""Whose turn it is to load a version: the replicas of an entry load it one after the other.

While a replica loads, it answers nothing (`hnsw.load`) and needs memory for two versions. So a
replica waits for those before it in its entry, and the others answer meanwhile.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Sequence

from common.errors import DeadlineExceeded, ServiceError
from common.http_client import HttpClient
from common.internal_auth import InternalAuth
from search.client import fetch_info
from search.manifest import Current, VersionRef

ANSWER_S = 1.0
"""A replica that takes longer to say what it holds may be loading."""
LOOKS = 60
"""The looks for a new version for which a replica waits, for each replica before it."""

log = logging.getLogger(__name__)


class Turns:
    """The turns of one replica. It waits for `before`: the replicas before it in its entry."""

    def __init__(
        self,
        before: Sequence[str],
        reload_s: float,
        inside: InternalAuth,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        """`reload_s` is the time between two looks for a new version."""
        self._before = before
        self._limit_s = len(before) * LOOKS * reload_s
        self._inside = inside
        self._now = now
        self._named: VersionRef | None = None
        self._since = 0.0

    def has_come(self, current: Current) -> bool:
        """Whether this replica may load the version that CURRENT names.

        It may not while a replica before it has still to load that version, or gives no answer at
        all, for at most LOOKS looks for each. A replica that refuses the version or a connection
        is not waited for.
        """
        is_first_look = self._named != current.now
        if is_first_look:
            self._named, self._since = current.now, self._now()
        if self._now() - self._since < self._limit_s and asyncio.run(self._any_loads(current)):
            if is_first_look:
                log.info("the replicas before this one load %s first", current.now.version)
            return False
        self._named = None
        return True

    async def _any_loads(self, current: Current) -> bool:
        http = HttpClient(self._inside)
        try:
            asking = (_has_to_load(http, address, current) for address in self._before)
            return any(await asyncio.gather(*asking))
        finally:
            await http.close()


async def _has_to_load(http: HttpClient, address: str, current: Current) -> bool:
    """Whether a replica has still to load the version that CURRENT names, or loads it."""
    try:
        info = await fetch_info(http, address, ANSWER_S)
    except DeadlineExceeded:
        return True
    except ServiceError:
        return False  # it is down, or holds nothing
    if current.now.sha256 in (info.version_digest, info.refused):
        return False
    is_rollback = current.before is not None and info.version_digest == current.before.sha256
    # Where CURRENT is a copy it may be late, and the replica ahead of it.
    return is_rollback or not _is_newer(info.version, current.now.version)


def _is_newer(version: str, than: str) -> bool:
    return (len(version), version) > (len(than), than)
