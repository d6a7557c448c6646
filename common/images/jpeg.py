"""The segments of a JPEG: those of the picture, and what is told about it beside them."""

import re

from common.errors import TooLarge, Unprocessable
from common.images.formats import ImageFile

MAX_SEGMENTS = 4_000
"""Segments of a JPEG. A colour profile or XMP takes one for 64 kB; a scan has up to four tables."""
MAX_SCANS = 500
"""Scans of a JPEG of any size; the fuzzers of libjpeg-turbo stop there, too."""
_SEGMENT = re.compile(rb"\xff[^\x00\xff]")
_AFTER_SCAN = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]")
_FRAMES = (0xC0, 0xC1, 0xC2, *range(0xC5, 0xC8), *range(0xC9, 0xCC), *range(0xCD, 0xD0))
_TABLES = (0xC4, 0xCC, *range(0xDA, 0xE0))
_METADATA = (*range(0xE1, 0xEE), 0xEF, 0xFE)
_COLOURS = (0xE0, 0xEE)
_WITH_LENGTH = {0xC3, *_FRAMES, *_TABLES, *_METADATA, *_COLOURS}
_SCAN, _END = 0xDA, 0xD9
_EXIF, _XMP, _PROFILE = b"Exif\0\0", b"http://ns.adobe.com/xap/1.0/\0", b"ICC_PROFILE\0"


def read_jpeg(data: bytes) -> ImageFile:
    """Read a JPEG; raises Unprocessable for too many segments, TooLarge for too many scans."""
    kept, info, profile = [data[:2]], dict[str, bytes](), dict[int, bytes]()
    at, whole, scans = 2, 0, 0
    scales = False
    for _ in range(MAX_SEGMENTS):
        found = (_AFTER_SCAN if scans else _SEGMENT).search(data, at)
        if found is None:
            break
        start, code, at = found.start(), data[found.start() + 1], found.end()
        if code in _WITH_LENGTH:
            at += max(2, int.from_bytes(data[at : at + 2], "big"))
        if scans == 0 and code in _METADATA:
            _keep_info(info, profile, code, data[start + 4 : at])
        elif scans == 0:
            kept.append(data[start : None if code == _SCAN else at])
        if code in (0xC0, 0xC1):
            whole = _byte(data, start + 9)  # a scan of all these colours is the only scan
        if code == _SCAN:
            scans += 1
            if scans == 1 and whole == _byte(data, start + 4):
                scales = True
                break
            if scans > MAX_SCANS:
                raise TooLarge(f"the image has more than {MAX_SCANS} scans")
        elif code == _END and scans:
            break
    else:
        raise Unprocessable(f"the image has more than {MAX_SEGMENTS} segments")
    if profile:
        info["icc_profile"] = b"".join(profile[number] for number in sorted(profile))
    return ImageFile(b"".join(kept), info=info, scans=scans, scales=scales)


def _keep_info(
    info: dict[str, bytes], profile: dict[int, bytes], code: int, content: bytes
) -> None:
    if code == 0xE1 and content.startswith(_EXIF):
        info.setdefault("exif", content)  # the first EXIF segment has the orientation
    elif code == 0xE1 and content.startswith(_XMP):
        info["xmp"] = content.removeprefix(_XMP)
    elif code == 0xE2 and content.startswith(_PROFILE):  # numbered, as ICC.1:2022 has it in B.4
        profile.setdefault(_byte(content, len(_PROFILE)), content[len(_PROFILE) + 2 :])


def _byte(data: bytes, at: int) -> int:
    return data[at] if at < len(data) else 0
