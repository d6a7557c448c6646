"""Image files of every kind we read, and of every kind that must be passed over."""

import os
import stat
import struct
import zlib
from pathlib import Path

import numpy as np
from PIL import Image

from tests.front.pictures import encoded
from tests.prepare.prepared_folder import noise
from tests.raw_photos import dng

EXIF_ORIENTATION = 0x0112


def write_good(folder: Path) -> list[str]:
    """Images of every format and mode; gives their names."""
    folder.mkdir(exist_ok=True)
    image = noise(1, 40, 30)
    image.save(folder / "jpeg.jpg")
    image.save(folder / "upper.JPEG")
    image.convert("CMYK").save(folder / "cmyk.jpg")
    _rotated(noise(2, 40, 30), folder / "rotated.jpg")
    image.save(folder / "png.png")
    image.convert("L").save(folder / "grey.png")
    image.convert("P").save(folder / "palette.png")
    _with_alpha(noise(3, 40, 30)).save(folder / "alpha.png")
    deep = np.random.default_rng(4).integers(0, 65536, (30, 40), dtype=np.uint16)
    Image.fromarray(deep).save(folder / "deep.png")
    image.save(folder / "webp.webp")
    image.save(folder / "gif.gif")
    image.save(folder / "animated.gif", save_all=True, append_images=[noise(5, 40, 30)])
    image.save(folder / "bmp.bmp")
    for ending in ("tif", "avif", "heic", "jp2", "mpo"):
        image.save(folder / f"other.{ending}")
    (folder / "raw.dng").write_bytes(dng(encoded(image, "JPEG"), image.size))
    noise(6, 100, 5).save(folder / "twenty-to-one.png")
    (folder / "Zoë, a 'name'.png").write_bytes((folder / "png.png").read_bytes())
    return [path.name for path in folder.iterdir()]


def _rotated(image: Image.Image, path: Path) -> None:
    exif = Image.Exif()
    exif[EXIF_ORIENTATION] = 6
    image.save(path, exif=exif)


def _with_alpha(image: Image.Image) -> Image.Image:
    image.putalpha(Image.linear_gradient("L").resize(image.size))
    return image


def write_bad(folder: Path) -> dict[str, str]:
    """Files that are no images or broken ones; gives what the reason says, by name."""
    folder.mkdir(exist_ok=True)
    noise(1, 200, 200).save(folder / "truncated.jpg")
    os.truncate(folder / "truncated.jpg", 5000)
    noise(1, 200, 200).save(folder / "truncated.png")
    os.truncate(folder / "truncated.png", 50_000)
    (folder / "header-only.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    (folder / "empty.jpg").touch()
    (folder / "text.jpg").write_text("I am not an image.")
    (folder / "svg.png").write_text('<svg xmlns="http://www.w3.org/2000/svg" width="9"/>')
    (folder / "tiff.png").write_bytes(b"II*\0" + bytes(100))
    (folder / "huge.png").write_bytes(png_header(20_000, 20_000))
    (folder / "large.png").write_bytes(png_header(10_000, 10_000))
    (folder / "thin.png").write_bytes(png_header(1, 65_500))
    (folder / "loop.jpg").symlink_to("loop.jpg")
    (folder / "gone.jpg").symlink_to("nowhere.jpg")
    os.mkfifo(folder / "fifo.jpg")
    os.mknod(folder / "socket.jpg", stat.S_IFSOCK | 0o600)
    (folder / "endless.jpg").touch()
    os.truncate(folder / "endless.jpg", 5 * 2**30)  # of which the disk holds nothing
    Path(os.fsdecode(os.fsencode(folder) + b"/\xff\xfe.jpg")).write_bytes(b"x")
    return {
        "truncated.jpg": "truncated",
        "truncated.png": "truncated",
        "header-only.png": "broken",
        "empty.jpg": "empty",
        "text.jpg": "not an image in a format that is read",
        "svg.png": "not an image in a format that is read",
        "tiff.png": "tags",
        "huge.png": "20000x20000 pixels",
        "large.png": "10000x10000 pixels",
        "thin.png": "20:1",
        "loop.jpg": "symbolic links",
        "gone.jpg": "No such file",
        "fifo.jpg": "not a regular file",
        "socket.jpg": "not a regular file",
        "endless.jpg": "over 536870912 bytes",
        "\\xff\\xfe.jpg": "not UTF-8",
    }


def png_header(width: int, height: int) -> bytes:
    """A PNG that says it has these dimensions, with next to nothing in it."""
    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    pixels = zlib.compress(bytes(1000))
    return (
        b"\x89PNG\r\n\x1a\n"
        + _png_chunk(b"IHDR", header)
        + _png_chunk(b"IDAT", pixels)
        + _png_chunk(b"IEND", b"")
    )


def _png_chunk(kind: bytes, data: bytes) -> bytes:
    checksum = zlib.crc32(kind + data)
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", checksum)
