"""The log of live changes (search/log.py) as prepare reads and trims it."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from common.config import Loaded
from common.errors import ConfigError, Unavailable
from prepare.members import NOTHING_FOLDED, Folded
from prepare.versions import kept_manifests
from search.log import Entries, Log, LogGap, open_log
from search.manifest import Folders

ACCEPT_LOG = "--accept-log"

log = logging.getLogger(__name__)


@contextmanager
def live_log(loaded: Loaded) -> Iterator[Log | None]:
    """The log that config.json names; raises ConfigError if it cannot be read to its end."""
    opened = open_log(loaded.config.log, loaded.root)
    try:
        yield opened
    except Unavailable as error:
        raise ConfigError(error.detail) from None
    except LogGap as error:
        raise ConfigError(_stopped(str(error))) from None
    finally:
        if opened:
            opened.close()


def log_to_follow(opened: Log | None, folded: Folded, *, accept: bool) -> Folded:
    """What members have of the log from which they go on; raises ConfigError.

    That is for another log than the one that they follow, and for one that lacks entries, unless
    `accept`: then they begin with all that this log has.
    """
    if opened is None:
        return folded
    log_id, start, end = opened.id(), opened.start(), opened.end()
    reached = max(folded.position, folded.own[1])
    problem = None
    if folded.log_id not in ("", log_id):
        told = f"log {log_id}" if log_id else "no log"
        problem = f"there is {told}, and the collection follows log {folded.log_id}"
    elif start > folded.position:
        problem = f"the log begins after entry {start}, the collection has {folded.position}"
    elif end < reached:
        problem = f"the log ends at entry {end}, the collection has {reached}"
    if problem is None:
        return folded._replace(log_id=log_id)
    if not accept:
        raise ConfigError(_stopped(problem))
    return folded._replace(log_id=log_id, position=start, changed=start, own=NOTHING_FOLDED.own)


def _stopped(problem: str) -> str:
    return (
        f"{problem}: images that were put or deleted are not known. Bring the right log back"
        f" (Live.log), or agree to go on with what it has: {ACCEPT_LOG}"
    )


def pages(opened: Log | None, after: int, end: int, size: int) -> Iterator[Entries]:
    """The entries after a position and up to another, `size` at a time."""
    while opened and after < end:
        entries = opened.read(after, min(size, end - after))
        yield entries
        after = entries[-1][0]


def trim(loaded: Loaded, folders: Folders) -> None:
    """Remove the entries that no kept version needs: all are in it. Without the log, do nothing."""
    kept = kept_manifests(folders)
    if not kept:
        return
    try:
        with live_log(loaded) as opened:
            if opened and (log_id := opened.id()):
                of_log = [manifest for manifest in kept if manifest.log_id in ("", log_id)]
                opened.trim(min((manifest.log_position for manifest in of_log), default=0))
    except ConfigError as error:
        log.warning("the log is not trimmed: %s", error)
