"""Segments without a model: what a click or a box finds in plain pictures."""

import io
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageDraw

from common.config import Inference
from common.errors import (
    BadRequest,
    DeadlineExceeded,
    NotImplementedHere,
    Unprocessable,
    UnsupportedMedia,
)
from inference.messages import GrabCutRequest, SegmentPrompt, SegmentReply
from inference.prompt_checks import MAX_POINTS, check_prompt
from inference.segment.grabcut import GrabCut, cut_out
from inference.segment.masks import box_of, png_of

DISC = (0.2, 0.25, 0.4, 0.65)
"""The box of the left disc of `discs`."""


def discs(size: tuple[int, int] = (320, 160)) -> Image.Image:
    """A red disc left and another right, on soft green noise."""
    noise = np.random.default_rng(0).integers(100, 140, (size[1], size[0], 3), np.uint8)
    noise[:, :, 1] += 60
    image = Image.fromarray(noise)
    for left in (DISC[0], 0.7):
        right = left + DISC[2] - DISC[0]
        corners = (left, DISC[1], right, DISC[3])
        box = [part * size[place % 2] for place, part in enumerate(corners)]
        ImageDraw.Draw(image).ellipse((box[0], box[1], box[2] - 1, box[3] - 1), "red")
    return image


def file_of(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture
def grabcut() -> Iterator[GrabCut]:
    """GrabCut with its thread."""
    one = GrabCut(Inference())
    one.start()
    yield one
    one.close()


@pytest.mark.parametrize(
    "prompt",
    [
        {"points": [(0.3, 0.45, 1)]},
        {"box": (0.15, 0.15, 0.45, 0.8)},
        {"points": [(0.3, 0.45, 1), (0.8, 0.45, 0)], "box": (0.15, 0.15, 0.9, 0.8)},
    ],
    ids=["click", "box", "both"],
)
def test_a_prompt_finds_its_disc(grabcut: GrabCut, prompt: dict[str, Any]) -> None:
    """The box is around the disc to a pixel or two; the mask is the disc; equal prompts agree."""
    request = GrabCutRequest(image=file_of(discs()), **prompt)
    found = grabcut.segment(request)

    np.testing.assert_allclose(found.box, DISC, atol=0.01)
    assert found.score == pytest.approx(np.pi / 4, abs=0.03)
    with Image.open(io.BytesIO(found.mask)) as mask:
        assert (mask.mode, mask.size) == ("1", (320, 160))
        assert box_of(np.asarray(mask)) == found.box
    assert found == grabcut.segment(request)


def test_two_clicks_find_two_discs() -> None:
    """Each part that is clicked is kept, and no other."""
    mask = cut_out(discs(), [(0.3, 0.45, 1), (0.8, 0.45, 1)], None)

    np.testing.assert_allclose(box_of(mask), (0.2, 0.25, 0.9, 0.65), atol=0.01)


def test_a_large_picture_is_cut_small_and_a_turned_one_upright(grabcut: GrabCut) -> None:
    """Parts of 1 are of the picture as shown, whatever the file says."""
    exif = Image.Exif()
    exif[0x0112] = 6  # shown turned to the right by 90 degrees
    buffer = io.BytesIO()
    discs((1280, 640)).save(buffer, "JPEG", quality=95, exif=exif)
    found = grabcut.segment(GrabCutRequest(image=buffer.getvalue(), points=[(0.55, 0.3, 1)]))

    np.testing.assert_allclose(found.box, (0.35, 0.2, 0.75, 0.4), atol=0.02)
    with Image.open(io.BytesIO(found.mask)) as mask:
        assert mask.size == (160, 320)


PLAIN: dict[str, tuple[tuple[int, int], dict[str, Any]]] = {
    "one pixel": ((1, 1), {"points": [(0.5, 0.5, 1)]}),
    "a line": ((20, 1), {"points": [(1.0, 1.0, 1)]}),
    "one colour": ((40, 40), {"points": [(0.5, 0.5, 1)]}),
    "one colour, a box": ((40, 40), {"box": (0.2, 0.2, 0.8, 0.8)}),
    "all of it": ((40, 40), {"box": (0, 0, 1, 1)}),
    "a corner": ((40, 40), {"points": [(0, 0, 1)]}),
    "in and out at a place": ((40, 40), {"points": [(0.5, 0.5, 1), (0.5, 0.5, 0)]}),
}


@pytest.mark.parametrize(("size", "prompt"), PLAIN.values(), ids=PLAIN)
def test_where_nothing_stands_out_there_is_an_answer(
    grabcut: GrabCut, size: tuple[int, int], prompt: dict[str, Any]
) -> None:
    """A segment with a box of some size, and no error."""
    image = file_of(Image.new("RGB", size, "gray"))
    x0, y0, x1, y1 = grabcut.segment(GrabCutRequest(image=image, **prompt)).box

    assert 0 <= x0 < x1 <= 1
    assert 0 <= y0 < y1 <= 1


BAD: dict[str, tuple[dict[str, Any], str]] = {
    "nothing": ({}, "`box`, or `points`"),
    "outside alone": ({"points": [(0.5, 0.5, 0)]}, "one of label 1"),
    "too many": ({"points": [(0.5, 0.5, 1)] * 1001}, f"1001 points; {MAX_POINTS} is the limit"),
    "below 0": ({"points": [(0.5, 0.5, 1), (-0.1, 0.5, 1)]}, r"points\[1\]"),
    "over 1": ({"points": [(0.5, 1.1, 1)]}, r"points\[0\]"),
    "no number": ({"points": [(float("nan"), 0.5, 1)]}, r"points\[0\]"),
    "another label": ({"points": [(0.5, 0.5, 2)]}, "label 1 inside"),
    "turned round": ({"box": (0.6, 0, 0.4, 1)}, "`box` is"),
    "zero area": ({"box": (0.5, 0, 0.5, 1)}, "`box` is"),
    "next to nothing": ({"box": (0.5, 0, 0.5001, 1)}, "`box` has a side"),
    "outside, with a click": ({"box": (0, 0, 1, 2), "points": [(0.5, 0.5, 1)]}, "`box` is"),
}


@pytest.mark.parametrize(("prompt", "told"), BAD.values(), ids=BAD)
def test_a_prompt_that_says_nothing_is_refused(prompt: dict[str, Any], told: str) -> None:
    """The message names the field."""
    with pytest.raises(BadRequest, match=told):
        check_prompt(SegmentPrompt(**prompt))


def test_a_wrong_prompt_or_file_is_refused_and_the_next_request_answered(grabcut: GrabCut) -> None:
    """Each request has its own fate."""
    click = [(0.3, 0.45, 1)]
    with pytest.raises(BadRequest, match="box"):
        grabcut.segment(GrabCutRequest(image=file_of(discs())))
    with pytest.raises(UnsupportedMedia):
        grabcut.segment(GrabCutRequest(image=b"no image", points=click))
    with pytest.raises(DeadlineExceeded):
        grabcut.segment(GrabCutRequest(image=file_of(discs()), points=click, deadline_ms=0))

    found = grabcut.segment(GrabCutRequest(image=file_of(discs()), points=click))
    assert isinstance(found, SegmentReply)


def test_without_opencv_it_says_what_to_install(
    grabcut: GrabCut, monkeypatch: pytest.MonkeyPatch
) -> None:
    """501, as the request is right and this server cannot do it."""
    monkeypatch.setitem(sys.modules, "cv2", None)
    with pytest.raises(NotImplementedHere, match=r"pip install -r requirements-segment\.txt"):
        grabcut.segment(GrabCutRequest(image=file_of(discs()), points=[(0.3, 0.45, 1)]))


def test_the_box_of_a_mask_holds_its_last_pixel() -> None:
    """Parts of 1 from the edges of pixels, and the PNG is the mask."""
    mask = np.zeros((4, 10), np.bool_)
    mask[1, 3] = mask[3, 9] = True

    assert box_of(mask) == (0.3, 0.25, 1.0, 1.0)
    with Image.open(io.BytesIO(png_of(mask))) as image:
        assert np.array_equal(np.asarray(image), mask)


def test_a_click_outside_that_leaves_nothing_of_the_box_is_told(grabcut: GrabCut) -> None:
    """It is a prompt as it may be sent, and no fault of the server."""
    click, box = (0.515, 0.515, 0), (0.5, 0.5, 0.53, 0.53)
    with pytest.raises(Unprocessable) as error:
        grabcut.segment(GrabCutRequest(image=file_of(discs()), points=[click], box=box))

    assert error.value.code == "no_segment"
