"""The result of a run that embeds, and what the operator is told of it."""

import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from prepare.chunks import Skipped
from prepare.left_out import LIST_OPTION, LeftOut, listing, printable, summary
from prepare.member_table import MemberTable
from prepare.members import Member

SHOWN = 20
"""The skipped images that a run names without being asked."""
OFFLINE = 3
"""The exit status when images are offline."""


NO_IMAGES = MemberTable([])


class EmbedRun(NamedTuple):
    """The result of a run."""

    images: int
    """How many images can be searched, those that are offline included."""
    read: int
    """How many files were read, as they were new or changed."""
    embedded: int
    skipped: list[Skipped]
    offline: Mapping[str, int]
    """How many images are offline, by reason."""
    added: list[str]
    removed: list[str]
    left_out: list[LeftOut]
    live: Mapping[str, int] = {}
    """How much was put, patched and deleted live since the last run."""
    deleted_files: int = 0
    """How many files are there whose images were deleted live."""
    before: MemberTable = NO_IMAGES
    """The images before the run, with what was written live."""
    replaced: Iterable[Member] = ()
    """The images at whose paths other content was put; search servers have both."""
    members: Sequence[Member] = ()


def report(outcome: EmbedRun, *, list_left_out: bool) -> None:
    """Print the result of a run, and all that it left out if asked to."""
    shown = outcome.skipped if list_left_out else outcome.skipped[:SHOWN]
    for skipped in shown:
        print(printable(f"skipped {skipped.path}: {skipped.reason}"))
    if more := len(outcome.skipped) - len(shown):
        print(f"skipped {more} more: {LIST_OPTION} shows them")
    if list_left_out:
        print("".join(f"{line}\n" for line in listing(outcome.left_out)), end="")
    if outcome.left_out:
        print(summary(outcome.left_out))
    for names, what in ((outcome.added, "added to"), (outcome.removed, "removed from")):
        for name in names:
            print(printable(f"{what} the collection: {name}"))
    if outcome.live:
        words = (("put", "put"), ("patch", "patched"), ("delete", "deleted"))
        counts = ", ".join(f"{outcome.live.get(op, 0)} {word}" for op, word in words)
        print(f"live since the last run: {counts}")
    if outcome.deleted_files:
        print(
            f"files that stay out, as their images were deleted live: {outcome.deleted_files};"
            " prepare.py add FILE takes one back"
        )
    print(
        f"{outcome.images} images, {outcome.read} looked at in this run, "
        f"{len(outcome.skipped)} skipped, {outcome.embedded} embedded, "
        f"{sum(outcome.offline.values())} offline",
        flush=True,
    )


def check(outcome: EmbedRun, max_bad: int | None) -> None:
    """Exit with status 3 when images are offline, with 1 when more than `max_bad` were skipped."""
    if outcome.offline:
        print(
            f"{told(outcome.offline)}. They can still be found, marked as offline."
            " Bring them back, or agree that they leave: prepare.py --accept-loss",
            file=sys.stderr,
        )
        sys.exit(OFFLINE)
    if max_bad is not None and len(outcome.skipped) > max_bad:
        sys.exit(1)


def told(reasons: Mapping[str, int]) -> str:
    """How many images are offline, and why."""
    why = ", ".join(f"{printable(reason)} ({count})" for reason, count in reasons.items())
    return f"{sum(reasons.values())} images are offline: {why}"
