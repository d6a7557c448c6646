"""Image files, good and bad, as bytes."""

import io
import shutil
import struct
import zlib
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pillow_heif
from PIL import Image

from devtools.services import CHECKOUT

pillow_heif.register_heif_opener()

Variant = Callable[[], tuple[bytes, Image.Image]]
"""Makes a file, and what it shows."""

COUNT = 12
"""How many images the collection has."""
OWL, CASTLE = "owl.jpg", "neuschwanstein-castle.jpg"
OTHERS = ("koala.jpg", "taj-mahal.jpg", "coffee-cup.jpg", "clownfish.jpg", "giraffe.jpg")
BOTH = "both.jpg"


def noise(seed: int = 0, size: tuple[int, int] = (40, 30)) -> Image.Image:
    """An RGB image of soft random colours, unlike that of any other seed."""
    small = np.random.default_rng(seed).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    return Image.fromarray(small).resize(size)


def write_collection(folder: Path) -> None:
    """COUNT images: a large one, some of other kinds, and two to be lost."""
    folder.mkdir()
    noise(0, (800, 600)).save(folder / "large.jpg")
    (folder / "deep.png").write_bytes(png(*_deep(noise(1))))
    noise(2).convert("P", palette=Image.Palette.ADAPTIVE).save(folder / "palette.gif")
    for name in ("gone.png", "replaced.png"):
        Image.effect_noise((20, 20), len(name)).save(folder / name)
    for seed in range(3, COUNT - 2):
        noise(seed).save(folder / f"noise-{seed}.png")


def write_samples(folder: Path) -> None:
    """Some photos, and one of an owl beside a castle, 960 x 480 pixels."""
    folder.mkdir()
    for name in (OWL, CASTLE, *OTHERS):
        shutil.copy(CHECKOUT / "samples" / name, folder)
    both = Image.new("RGB", (960, 480))
    for place, name in enumerate((OWL, CASTLE)):
        with Image.open(CHECKOUT / "samples" / name) as photo:
            both.paste(photo.resize((480, 480)), (place * 480, 0))
    both.save(folder / BOTH, quality=90)


def encoded(image: Image.Image, kind: str, **options: Any) -> bytes:
    """The file of an image."""
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def png(size: tuple[int, int], bits: int, colour: int, pixels: bytes, *extra: bytes) -> bytes:
    """A PNG file with the header as told, whatever the pixels are."""
    header = struct.pack(">IIBBBBB", *size, bits, colour, 0, 0, 0)
    parts = [(b"IHDR", header), *((chunk[:4], chunk[4:]) for chunk in extra)]
    parts += [(b"IDAT", zlib.compress(pixels)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(*part) for part in parts)


def _chunk(name: bytes, data: bytes) -> bytes:
    check = struct.pack(">I", zlib.crc32(name + data))
    return struct.pack(">I", len(data)) + name + data + check


def _deep(image: Image.Image) -> tuple[tuple[int, int], int, int, bytes]:
    """What `png` takes for an RGB image in 16 bits a channel: all of 0 to 65535 is used."""
    rows = np.asarray(image).astype(">u2") * 257
    return image.size, 16, 2, b"".join(b"\0" + row.tobytes() for row in rows.astype(">u2"))


def bomb(name: bytes, before: bytes) -> bytes:
    """A small PNG with a chunk of text that is 100 MB unpacked."""
    packer = zlib.compressobj(9)
    text = b"".join(packer.compress(b"a" * 10**6) for _ in range(100)) + packer.flush()
    return png((1, 1), 8, 0, b"\0\0", name + before + text)


def turned(orientation: int) -> tuple[bytes, Image.Image]:
    """A JPEG whose EXIF says that it was taken with the camera turned, and how it should look."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encoded(noise(), "JPEG", exif=exif)
    method = UPRIGHT[orientation]
    return data, Image.open(io.BytesIO(data)).transpose(method)


UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""What undoes each orientation, from the table of the EXIF standard (CIPA DC-008, 4.6.4)."""


def animated(kind: str) -> tuple[bytes, Image.Image]:
    """An animation in red, green and blue, and its first frame."""
    frames = [Image.new("RGB", (20, 20), colour) for colour in ("red", "lime", "blue")]
    data = encoded(frames[0], kind, save_all=True, append_images=frames[1:], lossless=True)
    return data, frames[0]


def _saved(mode: str, kind: str = "PNG") -> Variant:
    def make() -> tuple[bytes, Image.Image]:
        data = encoded(noise().convert(mode), kind)
        return data, Image.open(io.BytesIO(data)).convert("RGB")

    return make


def _see_through() -> tuple[bytes, Image.Image]:
    image = noise().convert("RGBA")
    image.putalpha(128)
    shown = Image.blend(Image.new("RGB", image.size, "white"), noise(), 128 / 255)
    return encoded(image, "PNG"), shown


def _deep_grey() -> tuple[bytes, Image.Image]:
    deep = np.asarray(noise().convert("L")).astype(np.uint16) * 200
    return encoded(Image.fromarray(deep), "PNG"), Image.fromarray((deep >> 8).astype(np.uint8))


VARIANTS: dict[str, Variant] = {
    "CMYK": _saved("CMYK", "JPEG"),
    "palette": _saved("P"),
    "grey": _saved("L"),
    "grey JPEG": _saved("L", "JPEG"),
    "black and white": _saved("1"),
    "alpha": _see_through,
    "16-bit grey": _deep_grey,
    "16-bit colour": lambda: (png(*_deep(noise())), noise()),
    "animated GIF": lambda: animated("GIF"),
    "animated WEBP": lambda: animated("WEBP"),
    "animated PNG": lambda: animated("PNG"),
    "BMP": _saved("RGB", "BMP"),
    "TIFF": _saved("RGB", "TIFF"),
    "JPEG 2000": _saved("RGB", "JPEG2000"),
    "AVIF": _saved("RGB", "AVIF"),
    "HEIC": _saved("RGB", "HEIF"),
    **{f"EXIF {number}": partial(turned, number) for number in UPRIGHT},
}
"""Files in every form that is read, each with what it shows."""
