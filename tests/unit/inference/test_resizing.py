"""Pixels of the SIMD resize beside Pillow's."""

from typing import Any

import numpy as np
import pytest
from cykooz_resizer import CpuExtensions, Resizer
from PIL import Image

from common.images.colours import MODES
from inference.clip import resizing
from inference.clip.resizing import Filter, resize

MOST = 2
"""The largest difference, of 255."""
SIZES = [
    ((640, 427), (335, 224)),
    ((427, 640), (224, 335)),
    ((640, 427), (224, 224)),
    ((104, 819), (103, 199)),
    ((33, 21), (352, 224)),  # larger
    ((500, 37), (100, 300)),  # smaller in width, larger in height
    ((1, 20), (16, 320)),
    ((20, 1), (320, 16)),
    ((1, 1), (224, 224)),
    ((7, 13), (1, 1)),
    ((224, 224), (224, 224)),
]
KINDS = ("noise", "edges", "ramp")
OPAQUE = [mode for mode in MODES if "A" not in mode]


def picture(kind: str, mode: str, size: tuple[int, int]) -> Image.Image:
    """Noise, noise of black and white alone, or a ramp; the same at each call."""
    bands = len(Image.new(mode, (1, 1)).getbands())
    shape = (size[1], size[0], bands)
    values = np.random.default_rng(0).integers(0, 256, shape)
    if kind == "ramp":
        values[:] = np.linspace(0, 255, size[0])[None, :, None]
    if kind == "edges":
        values = np.where(values > 127, 255, 0)
    parts = [Image.fromarray(values[..., band].astype(np.uint8)) for band in range(bands)]
    return Image.merge(mode, parts)


def by_pillow(image: Image.Image, size: tuple[int, int], name: Filter) -> Image.Image:
    """Horizontally first; since version 13, Pillow takes the order that is faster."""
    filter_ = Image.Resampling[name.upper()]
    return image.resize((size[0], image.height), filter_).resize(size, filter_)


def difference(one: Image.Image, other: Image.Image) -> int:
    """The largest between two values, also of the pixels as RGB."""
    pairs = [(one, other), (one.convert("RGB"), other.convert("RGB"))]
    return max(int(abs(np.asarray(a, int) - np.asarray(b, int)).max()) for a, b in pairs)


@pytest.mark.parametrize("name", ["bicubic", "bilinear"])
@pytest.mark.parametrize("mode", OPAQUE)
@pytest.mark.parametrize(("before", "after"), SIZES)
def test_pixels_are_pillows(
    before: tuple[int, int], after: tuple[int, int], mode: str, name: Filter
) -> None:
    """To 2 of 255, for any size and the hardest contrasts."""
    for kind in KINDS:
        image = picture(kind, mode, before)
        ours = resize(image, after, name)

        assert (after, mode) == (ours.size, ours.mode)
        assert difference(ours, by_pillow(image, after, name)) <= MOST, kind


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_with_alpha_the_pixels_are_those_of_pillow(mode: str) -> None:
    """All of them, because dividing by the alpha would enlarge a difference."""
    image = picture("noise", mode, (60, 40))

    whole = image.resize((30, 20), Image.Resampling.BICUBIC)
    assert resize(image, (30, 20), "bicubic").tobytes() == whole.tobytes()
    part = resize(image, (30, 20), "bicubic", (5, 0, 25, 20))
    assert part.tobytes() == whole.crop((5, 0, 25, 20)).tobytes()


@pytest.mark.parametrize("mode", OPAQUE)
@pytest.mark.parametrize("box", [(55, 0, 279, 224), (0, 3, 335, 220), (334, 223, 335, 224)])
def test_a_part_is_cut_from_the_whole(mode: str, box: tuple[int, int, int, int]) -> None:
    """Pixels outside of the part count at its border, as they do if it is cut afterwards."""
    image = picture("edges", mode, (640, 427))

    part = resize(image, (335, 224), "bicubic", box)

    assert difference(part, resize(image, (335, 224), "bicubic").crop(box)) == 0


def test_processors_with_other_instructions_give_the_same_pixels(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """An index may be made on one machine and asked from another."""

    def plain() -> Any:
        resizer = Resizer()
        resizer.cpu_extensions = CpuExtensions.none
        return resizer

    images = [picture("edges", mode, (640, 427)) for mode in OPAQUE]
    fast = [resize(image, (335, 224), "bicubic").tobytes() for image in images]
    monkeypatch.setattr(resizing, "Resizer", plain)

    assert fast == [resize(image, (335, 224), "bicubic").tobytes() for image in images]
