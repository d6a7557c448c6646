"""The colours of a decoded image as a browser shows them: in 8 bits, in sRGB, on white."""

import functools
import io

import numpy as np
from PIL import Image, ImageCms

MODES = ("RGB", "L", "CMYK", "RGBA", "LA")
"""The modes of `in_8_bits`, which are those in which open_clip resizes."""
MAX_PROFILE = 3 * 2**20
"""Bytes of a colour profile; a larger one is ignored. Those of printers have up to 3 MB."""
_PROFILED = {"RGB": "RGB", "RGBA": "RGB", "L": "GRAY", "CMYK": "CMYK"}
"""The colours that a profile for an image of a mode must be made for."""
_SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))
_ALIKE = 2
"""Levels of 255. A profile that changes no colour by more is sRGB, whatever its name is."""


def plain(image: Image.Image) -> Image.Image:
    """An image as it is shown: RGB, or L if it is grey. Transparent parts are white."""
    profile = image.info.get("icc_profile")
    image = in_8_bits(image)
    if image.mode in ("RGB", "L") and image.has_transparency_data:
        image = image.convert("RGBA")
    if profile and (transform := _to_srgb(profile, image.mode)):
        image = transform.apply(image)
    if image.mode in ("RGBA", "LA"):
        image = _on_white(image.convert("RGBA"))
    return image if image.mode in ("RGB", "L") else image.convert("RGB")


def in_8_bits(image: Image.Image) -> Image.Image:
    """An image in one of `MODES`: palettes become colours, deep grey becomes grey of 8 bits."""
    if image.mode.startswith("I;16"):
        deep = np.asarray(image)
        return Image.fromarray((deep >> 8 if deep.max() > 255 else deep).astype(np.uint8))
    if image.mode in ("I", "F"):
        values = np.nan_to_num(np.asarray(image, np.float32), nan=0, posinf=0, neginf=0)
        most = float(values.max())
        full = next((full for full in (1, 255, 65535) if most <= full), most)
        return Image.fromarray(np.clip(values * (255 / full), 0, 255).astype(np.uint8))
    if image.mode in MODES:
        return image
    return image.convert("RGBA" if image.has_transparency_data else "RGB")


def _on_white(image: Image.Image) -> Image.Image:
    """An RGBA image on white. What transparent pixels hide mixes with no other pixel later."""
    if image.getchannel("A").getextrema() == (255, 255):
        return image.convert("RGB")
    flat = Image.new("RGB", image.size, "white")
    flat.paste(image, mask=image)
    return flat


@functools.lru_cache(maxsize=8)  # with their profiles they take up to 40 MB
def _to_srgb(profile: bytes, mode: str) -> ImageCms.ImageCmsTransform | None:
    """What turns the colours of a profile into sRGB; None if there is nothing to turn.

    That is so for sRGB, and for a profile that is broken, too large, or for other colours.
    """
    if len(profile) > MAX_PROFILE or mode not in _PROFILED:
        return None
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        if source.profile.xcolor_space.strip() != _PROFILED[mode]:
            return None
        out = "RGBA" if mode == "RGBA" else "RGB"
        transform = ImageCms.ImageCmsTransform(source, _SRGB, mode, out)
        probe = _probe(mode)
        turned = np.asarray(transform.apply(probe).convert("RGB"), dtype=np.int16)
    except (OSError, ValueError, TypeError):  # Pillow's, for what lcms2 refuses
        return None
    same = np.abs(turned - np.asarray(probe.convert("RGB"))).max() <= _ALIKE
    return None if same else transform


def _probe(mode: str) -> Image.Image:
    """An image of colours from all over a mode."""
    bands = len(Image.new(mode, (1, 1)).getbands())
    colours = 51 * np.indices((6,) * bands, dtype=np.uint8).reshape(bands, -1).T
    return Image.frombytes(mode, (len(colours), 1), colours.tobytes())
