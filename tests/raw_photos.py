"""A RAW photo as a camera writes it, in Adobe's form (DNG 1.4): a sensor's numbers, and a JPEG."""

import struct

SIDE = 64
Entries = list[tuple[int, int, int | bytes]]
"""Tag, type and value of each."""


def dng(jpeg: bytes, size: tuple[int, int], orientation: int = 1) -> bytes:
    """A DNG whose preview is a JPEG of that size."""
    sensor = struct.pack("<H", 1000) * SIDE * SIDE
    begin = 8
    places = {"jpeg": begin, "sensor": begin + len(jpeg) + len(jpeg) % 2}
    first = places["sensor"] + len(sensor)
    preview: Entries = [
        (254, 4, 1), (256, 4, size[0]), (257, 4, size[1]), (258, 3, 8), (259, 3, 7), (262, 3, 6),
        (271, 2, b"Maker\0"), (272, 2, b"Model\0"), (273, 4, places["jpeg"]), (274, 3, orientation),
        (277, 3, 3), (278, 4, size[1]), (279, 4, len(jpeg)), (330, 4, 0),
        (50706, 1, b"\1\4\0\0"), (50708, 2, b"Model\0"),
        (50721, 10, b"".join(struct.pack("<ii", n, 1) for n in (1, 0, 0, 0, 1, 0, 0, 0, 1))),
        (50728, 5, struct.pack("<II", 1, 1) * 3), (50778, 3, 21),
    ]  # fmt: skip
    raw: Entries = [
        (254, 4, 0), (256, 4, SIDE), (257, 4, SIDE), (258, 3, 16), (259, 3, 1), (262, 3, 32803),
        (273, 4, places["sensor"]), (277, 3, 1), (278, 4, SIDE), (279, 4, len(sensor)),
        (33421, 3, b"\2\0\2\0"), (33422, 1, b"\0\1\1\2"), (50717, 3, 65535),
    ]  # fmt: skip
    length = len(_directory(preview, first))
    preview[13] = (330, 4, first + length)
    body = jpeg + bytes(len(jpeg) % 2) + sensor
    return b"".join(
        (
            b"II*\0" + struct.pack("<I", first),
            body,
            _directory(preview, first),
            _directory(raw, first + length),
        )
    )


def _directory(entries: Entries, at: int) -> bytes:
    """A directory of TIFF at a place in the file, and behind it the values that are too long."""
    widths = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 10: 8}
    behind = at + 2 + 12 * len(entries) + 4
    head, values = struct.pack("<H", len(entries)), b""
    for tag, kind, value in entries:
        content = struct.pack("<I", value) if isinstance(value, int) else value
        count = 1 if isinstance(value, int) else len(content) // widths[kind]
        if len(content) > 4:
            place = struct.pack("<I", behind + len(values))
            values += content + bytes(len(content) % 2)
        else:
            place = content.ljust(4, b"\0")
        head += struct.pack("<HHI", tag, kind, count) + place
    return head + bytes(4) + values
