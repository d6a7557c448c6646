"""What an image file tells of itself in its EXIF: when it was taken, and with which camera."""

import re
from collections.abc import Iterable, Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from itertools import islice

from common.errors import ServiceError
from common.images.boxes import riff_chunks
from common.images.exif import Entry, Exif
from common.images.formats import format_of
from common.images.heif import exif_of_heif
from common.images.jpeg import read_jpeg
from common.images.png import read_png

HEAD_BYTES = 2**18
"""Of a JPEG, in which its EXIF is looked for: a segment has 64 kB at most, and is among the first
(CIPA DC-008, 4.5.4)."""
MAX_ENTRIES = 1000
"""Of a directory that are looked at; cameras write up to 60."""
MAKE, MODEL, INNER, TAKEN, OFFSET = 0x010F, 0x0110, 0x8769, 0x9003, 0x9011
"""Tags of EXIF; `INNER` leads to the directory of the last two."""
_OFFSET = re.compile(r"[-+][0-9]{2}:[0-9]{2}")


def facts_of(data: bytes) -> dict[str, str]:
    """`taken` and `camera` of an image file, as far as it tells them.

    `taken` is the time of the place in ISO 8601, with its offset from UTC if the camera told it.
    """
    exif = Exif(_exif_in(data))
    first = _by_tag(exif.first())
    inner = _by_tag(exif.entries(exif.number(first[INNER]))) if INNER in first else {}
    told = {tag: exif.text(entry) for tag, entry in (first | inner).items()}
    facts = {"taken": _taken(told), "camera": _camera(told)}
    return {name: fact for name, fact in facts.items() if fact}


def facts_of_file(size_bytes: int, mtime_ns: int) -> dict[str, str | int]:
    """`size` of a file, and `modified`: when it was last changed, in UTC."""
    facts: dict[str, str | int] = {"size": size_bytes}
    with suppress(OverflowError):  # a file system with a clock of its own
        modified = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=mtime_ns // 10**9)
        facts["modified"] = modified.isoformat()
    return facts


def _by_tag(entries: Iterable[Entry]) -> dict[int, Entry]:
    wanted = (MAKE, MODEL, INNER, TAKEN, OFFSET)
    return {entry.tag: entry for entry in islice(entries, MAX_ENTRIES) if entry.tag in wanted}


def _exif_in(data: bytes) -> bytes:
    """The EXIF of a file; empty if none is found."""
    try:
        match format_of(data):
            case "JPEG":
                return read_jpeg(data[:HEAD_BYTES]).info.get("exif", b"")
            case "PNG":
                return read_png(data).info.get("exif", b"")
            case "WEBP":
                return next((part for name, part in riff_chunks(data) if name == b"EXIF"), b"")
            case "AVIF" | "HEIF":
                return exif_of_heif(data)
            case "TIFF" | "RAW":
                return data
    except ServiceError:  # broken so far that it tells nothing
        pass
    return b""


def _taken(told: Mapping[int, str]) -> str:
    """DateTimeOriginal with OffsetTimeOriginal (CIPA DC-008, 4.6.6); "" if it is no time."""
    offset = told.get(OFFSET, "")
    try:
        moment = datetime.strptime(told.get(TAKEN, ""), "%Y:%m:%d %H:%M:%S").isoformat()
        return moment + offset if _OFFSET.fullmatch(offset) else moment
    except ValueError:
        return ""


def _camera(told: Mapping[int, str]) -> str:
    """Make and model; the make once, where the model begins with its first word."""
    make, model = told.get(MAKE, ""), told.get(MODEL, "")
    brand = make.partition(" ")[0].lower()
    return model if model.lower().startswith(brand or " ") else f"{make} {model}".strip()
