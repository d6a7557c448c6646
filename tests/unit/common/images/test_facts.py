"""What image files tell of themselves: when they were taken, with which camera."""

import random
import struct

import pytest
from PIL import Image

from common.images.exif import Exif
from common.images.facts import INNER, MAKE, MAX_ENTRIES, MODEL, OFFSET, TAKEN, facts_of
from tests.front.pictures import encoded

TOLD = {"taken": "2024-05-01T12:00:09", "camera": "Canon EOS 5D"}


def told(**tags: str) -> bytes:
    """EXIF with texts, as Pillow writes it."""
    written = Image.Exif()
    outer, inner = {"make": MAKE, "model": MODEL}, {"taken": TAKEN, "offset": OFFSET}
    written.update({tag: tags[name] for name, tag in outer.items() if name in tags})
    written.get_ifd(INNER).update({tag: tags[name] for name, tag in inner.items() if name in tags})
    return written.tobytes()


def picture() -> Image.Image:
    return Image.new("RGB", (32, 32), "red")


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "HEIF", "AVIF"])
def test_every_format_with_exif_is_read(kind: str) -> None:
    """And one without EXIF tells nothing."""
    written = told(make="Canon", model="Canon EOS 5D", taken="2024:05:01 12:00:09")
    assert TOLD == facts_of(encoded(picture(), kind, exif=written))
    assert {} == facts_of(encoded(picture(), kind))


@pytest.mark.parametrize(
    ("make", "model", "camera"),
    [
        ("NIKON CORPORATION", "NIKON D750", "NIKON D750"),
        ("Apple", "iPhone 12", "Apple iPhone 12"),
        ("samsung", "SAMSUNG A5", "SAMSUNG A5"),
        ("", "QSS", "QSS"),
        ("Minolta", "", "Minolta"),
        (" SONY \0junk", "  ILCE\t7 ", "SONY ILCE 7"),
        ("x" * 999, "y", "x" * 64 + " y"),
    ],
)
def test_a_camera_is_named_once(make: str, model: str, camera: str) -> None:
    """Its make and its model in one, without what cannot be shown."""
    written = encoded(picture(), "JPEG", exif=told(make=make, model=model))
    assert {"camera": camera} == facts_of(written)


@pytest.mark.parametrize(
    ("taken", "offset", "fact"),
    [
        ("2024:05:01 12:00:09", "+02:00", "2024-05-01T12:00:09+02:00"),
        ("2024:05:01 12:00:09", "   :  ", "2024-05-01T12:00:09"),
        ("2024:05:01 12:00:09", "soon", "2024-05-01T12:00:09"),
        ("0000:00:00 00:00:00", "+02:00", None),
        ("    :  :     :  :  ", "", None),
        ("2024:02:30 12:00:09", "", None),
    ],
)
def test_a_time_is_told_as_iso_8601(taken: str, offset: str, fact: str | None) -> None:
    """What is no time is not told."""
    written = encoded(picture(), "JPEG", exif=told(taken=taken, offset=offset))
    assert fact == facts_of(written).get("taken")


def test_a_broken_file_tells_what_it_can_and_costs_nothing() -> None:
    """Files cut anywhere and changed anywhere; EXIF of many entries."""
    chance = random.Random(0)
    written = told(make="Canon", model="Canon EOS 5D", taken="2024:05:01 12:00:09")
    for kind in ("JPEG", "PNG", "WEBP", "TIFF", "HEIF", "AVIF"):
        data = encoded(picture(), kind, exif=written)
        for _ in range(200):
            broken = bytearray(data[: chance.randrange(len(data) + 1)])
            for _ in range(chance.randrange(4) if broken else 0):
                broken[chance.randrange(len(broken))] = chance.randrange(256)
            assert facts_of(bytes(broken)).keys() <= TOLD.keys()


def test_entries_past_the_limit_are_not_looked_at() -> None:
    """A directory that leads to itself is read twice, not for ever."""
    entries = [(0x0112, 3, 1, 0)] * MAX_ENTRIES + [(INNER, 4, 1, 8)]
    for found in (entries, entries[1:]):
        block = b"".join(struct.pack("<HHII", *entry) for entry in found)
        data = b"II*\0" + struct.pack("<IH", 8, len(found)) + block
        assert {} == facts_of(data)
        assert len(found) == len(list(Exif(data).first()))
