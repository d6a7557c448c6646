"""The metadata of images to which something was written live.

What was written last counts, field by field: by a put or a patch, or by a table in which the field
has changed. If both did since the last run, the put or the patch counts.
"""

from collections.abc import Iterable, Mapping
from typing import TypeVar

from msgspec.structs import replace

from prepare.members import Member, Removed
from prepare.tables import Scalar

Metadata = dict[str, Scalar]
Gone = TypeVar("Gone", Member, Removed)
MISSING = object()


def source_metadata(member: Member) -> Metadata:
    """What the roots told of a file in the last run."""
    return member.metadata if member.source_metadata is None else member.source_metadata


def taken_over(member: Member, told: Metadata) -> Metadata:
    """The metadata of an image of which the roots now tell `told`."""
    if member.source_metadata is None:
        return told
    before = member.source_metadata
    names = before.keys() | told.keys()
    changed = {name for name in names if before.get(name, MISSING) != told.get(name, MISSING)}
    kept = {name: value for name, value in member.metadata.items() if name not in changed}
    return kept | {name: value for name, value in told.items() if name in changed}


def with_written(member: Member, written: Member | None) -> Member:
    """A member with what was written to its path, or to the path from which its file was moved.

    A file that was moved keeps what a table told at its old path, unless a table tells of the new.
    """
    if written is None or written.source_metadata is None:
        return member
    told = member.metadata
    if member.path != written.path and not told:
        told = written.source_metadata
    metadata = taken_over(written, told)
    if metadata == member.metadata:
        return member
    return replace(member, metadata=metadata, source_metadata=member.metadata)


def moved(gone: Iterable[Gone], arrived: Mapping[str, str]) -> dict[str, Gone]:
    """What each new path holds that was at another path; one file for one image.

    `arrived` has the content of each new path.
    """
    by_content: dict[str, list[Gone]] = {}
    for image in gone:
        by_content.setdefault(image.content, []).append(image)
    return {path: by_content[text].pop() for path, text in arrived.items() if by_content.get(text)}
