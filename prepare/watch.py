"""Prepare again whenever files of the collection change: python prepare/prepare.py watch."""

import logging
import sys
import time
from argparse import ArgumentParser, Namespace

from common.config import Loaded
from common.errors import ConfigError
from prepare import build_index
from prepare.embed_run import EmbedRun, report, told
from prepare.live_writes import MOST, write_live
from prepare.observing import Observing, own_paths, targets_of
from prepare.quiet import Quiet
from prepare.save_embedding import save_embeddings

LOOK_S = 0.5
EVERY_S = 600.0
"""Also without notice of a change: files that a list or a link names may lie anywhere."""
RETRY_S = 10.0
POLL_S = 5.0

log = logging.getLogger(__name__)


def add_watch_arguments(parser: ArgumentParser) -> None:
    """The options of `watch`."""
    parser.add_argument(
        "--quiet-s",
        type=float,
        default=2.0,
        metavar="S",
        help="watch: look S seconds after the last change (default: 2)",
    )
    parser.add_argument(
        "--poll-s",
        type=float,
        metavar="S",
        help="watch: list all folders every S seconds (default: those of network shares, every 5)",
    )


def watch(loaded: Loaded, options: Namespace) -> None:
    """Look at the collection now and after each change; ends by a signal.

    Raises ConfigError if the first look fails.
    """
    poll_s = options.poll_s or POLL_S
    polls = options.poll_s is not None
    quiet = Quiet(options.quiet_s)
    looks = Looks(loaded, options)
    next_at = time.monotonic()
    with Observing(quiet, own_paths(loaded), poll_s, polls=polls) as observing:
        while True:
            if observing.follow(targets_of(loaded)):
                quiet.note("")
            if quiet.is_due() or time.monotonic() >= next_at:
                quiet.begin()
                next_at = time.monotonic() + (EVERY_S if looks.look() else RETRY_S)
            time.sleep(LOOK_S)


class Looks:
    """The looks at a collection, and what they have told."""

    def __init__(self, loaded: Loaded, options: Namespace) -> None:
        self._loaded = loaded
        self._options = options
        self._written = 0
        self._is_first = self._builds = True
        self._offline = ""

    def look(self) -> bool:
        """Take up what has changed; whether that went well. The first look raises ConfigError."""
        first = self._is_first
        try:
            outcome = save_embeddings(
                self._loaded,
                accept_loss=first and self._options.accept_loss,
                accept_log=first and self._options.accept_log,
            )
            count = None if self._builds else write_live(self._loaded, outcome)
            self._tell(outcome, count)
            self._written += count or 0
            if count is None or self._written >= MOST:
                build_index.report(build_index.build(self._loaded))
                self._written = 0
            self._is_first = self._builds = False
        except ConfigError as error:
            if first:
                raise
            self._builds = True  # a later look does not find again what this one has found
            log.error("%s", error)
            return False
        return True

    def _tell(self, outcome: EmbedRun, count: int | None) -> None:
        if count is None or count or outcome.read:
            report(outcome, list_left_out=self._options.list_left_out)
        if count:
            print(f"{count} changes are in the log", flush=True)
        offline = told(outcome.offline) if outcome.offline else ""
        if offline not in ("", self._offline):
            print(f"{offline}; they can still be found", file=sys.stderr, flush=True)
        self._offline = offline
