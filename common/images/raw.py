"""The JPEG that a camera puts into its RAW photos."""

import io

from PIL import Image

from common.errors import Unprocessable, UnsupportedMedia
from common.images.orientation import exif_of

_TURNS = {3: 3, 5: 8, 6: 6}
"""The orientation of EXIF for each turn, as LibRaw tells it."""


class MissingReader(UnsupportedMedia):
    """The package that reads a format is not installed."""


def embedded_jpeg(data: bytes) -> tuple[bytes, bytes]:
    """The largest picture in a RAW photo, as a JPEG, and EXIF with its orientation.

    Raises MissingReader without rawpy, and Unprocessable for a photo without a picture.
    """
    try:
        import rawpy
    except ImportError:
        raise MissingReader("a RAW photo: reading it needs `pip install rawpy`") from None
    try:
        with rawpy.imread(io.BytesIO(data)) as raw:
            found, turn = raw.extract_thumb(), raw.sizes.flip
    except (rawpy.LibRawError, rawpy.NotSupportedError):
        raise Unprocessable("the RAW photo is broken, or holds no picture that is read") from None
    exif = exif_of(_TURNS.get(turn, 1))
    if isinstance(found.data, bytes):
        return found.data, exif
    buffer = io.BytesIO()  # an old camera's picture, of pixels
    Image.fromarray(found.data).save(buffer, "JPEG", quality=95)
    return buffer.getvalue(), exif
