"""The size of a coded picture as its own header tells it: what a decoder takes memory for."""

from collections.abc import Iterable, Iterator

from common.errors import Unprocessable
from common.images.formats import Size

MAX_UNITS = 1_000
"""Units of a coded picture that are looked at for headers; a tile of a phone's photo has one."""
_AV1_SEQUENCE, _HEVC_SEQUENCE = 1, 33


class _Bits:
    """Reads numbers from bits; after the end, zeros."""

    def __init__(self, data: bytes) -> None:
        self._value = int.from_bytes(data, "big")
        self._left = 8 * len(data)

    def read(self, count: int) -> int:
        """An unsigned number of `count` bits."""
        self._left -= count
        return (self._value >> max(0, self._left)) & ((1 << count) - 1) if self._left >= 0 else 0

    def read_ue(self) -> int:
        """An Exp-Golomb number (H.265, 9.2)."""
        zeros = 0
        while zeros < 32 and self._left > 0 and not self.read(1):
            zeros += 1
        return (1 << zeros) - 1 + self.read(zeros)


def av1_size(content: bytes) -> Size | None:
    """The largest frame of an AV1 picture, by its sequence headers (AV1, 5.5.1); None: without."""
    at, sizes = 0, list[Size]()
    for _ in range(MAX_UNITS):
        if at >= len(content):
            break
        head = content[at]
        at += 2 if head & 4 else 1
        length = len(content) - at
        if head & 2:
            length, at = _leb128(content, at)
        if head >> 3 & 15 == _AV1_SEQUENCE:
            sizes.append(_av1_sequence(_Bits(content[at : at + min(length, 100)])))
        at += length
    else:
        raise Unprocessable(f"the image has more than {MAX_UNITS} units of AV1")
    return max(sizes, key=lambda size: size[0] * size[1], default=None)


def _leb128(content: bytes, at: int) -> tuple[int, int]:
    """A number in the bytes from `at` (AV1, 4.10.5), and the place after it."""
    value = 0
    for number, byte in enumerate(content[at : at + 8]):
        value |= (byte & 127) << 7 * number
        if not byte & 128:
            return value, at + number + 1
    return value, at + 8


def _av1_sequence(bits: _Bits) -> Size:
    bits.read(4)  # profile, still picture
    if bits.read(1):  # a short header, of a still picture
        bits.read(5)
    else:
        if bits.read(1):
            raise Unprocessable("the image is a frame of a film with times, which we do not read")
        delays = bits.read(1)
        for _ in range(bits.read(5) + 1):
            bits.read(12)
            if bits.read(5) > 7:
                bits.read(1)
            if delays and bits.read(1):
                bits.read(4)
    wide, high = bits.read(4) + 1, bits.read(4) + 1
    return bits.read(wide) + 1, bits.read(high) + 1


def hevc_sizes(units: Iterable[bytes]) -> Iterator[Size]:
    """The sizes in the sequence parameter sets among NAL units (H.265, 7.3.2.2)."""
    for count, unit in enumerate(units):
        if count == MAX_UNITS:
            raise Unprocessable(f"the image has more than {MAX_UNITS} units of HEVC")
        if unit and unit[0] >> 1 & 63 == _HEVC_SEQUENCE:
            yield _hevc_sequence(_Bits(unit[2:1000].replace(b"\0\0\3", b"\0\0")))


def _hevc_sequence(bits: _Bits) -> Size:
    bits.read(4)
    layers = bits.read(3)
    bits.read(1 + 96)  # nesting, the profile and level of the whole
    present = [(bits.read(1), bits.read(1)) for _ in range(layers)]
    bits.read(2 * (8 - layers) if layers else 0)
    for profile, level in present:
        bits.read(88 * profile + 8 * level)
    bits.read_ue()
    if bits.read_ue() == 3:  # chroma: 4:4:4
        bits.read(1)
    return bits.read_ue(), bits.read_ue()
