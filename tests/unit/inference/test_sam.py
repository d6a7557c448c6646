"""Segment Anything: its layouts, their prompts, and the choice and the shape of a mask."""

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from PIL import Image

from common.config import CHECKOUT, Inference
from common.errors import BadRequest, ConfigError, NotImplementedHere, ServiceError, Unprocessable
from devtools.tiny_sam import (
    BOX_SCORE,
    CLICK_SCORE,
    SHAPE,
    picture,
    write_meta_sam,
    write_sam2,
    write_transformers_sam,
)
from inference.messages import Point, Region, SegmentReply
from inference.segment.sam import Sam, load_sam
from inference.segment.sam_decoder import choose, enlarge, prompt_arrays
from inference.segment.sam_encoder import MEAN, STD, normalise
from inference.segment.sam_layout import SAM, resized

PIXELS = 50_000_000
INSIDE = (0.3, 0.6, 1)
WRITERS = [write_meta_sam, write_transformers_sam, write_sam2]


def load(folder: Path, write: Callable[[Path], Path]) -> Sam:
    return load_sam(str(write(folder)), Inference(), Path())


def segment(
    sam: Sam, file: bytes, points: list[Point], box: Region | None = None
) -> tuple[SegmentReply, Image.Image]:
    """The segment of a file, and its mask."""
    size, features = sam.encode(file, PIXELS)
    found = sam.decode(features, size, points, box)
    return found, Image.open(io.BytesIO(found.mask))


@pytest.mark.parametrize("write", WRITERS)
@pytest.mark.parametrize(("kind", "orientation"), [("PNG", 1), ("JPEG", 1), ("JPEG", 6)])
def test_a_click_finds_its_shape(
    tmp_path: Path, write: Callable[[Path], Path], kind: str, orientation: int
) -> None:
    """Exactly, in the upright picture, also of a camera that was turned."""
    found, mask = segment(load(tmp_path, write), picture(kind, orientation), [INSIDE])

    assert found.box == SHAPE
    assert found.score == pytest.approx(CLICK_SCORE)
    assert (mask.mode, mask.size) == ("1", (1024, 512))
    assert np.asarray(mask).sum() == 320 * 224 - 4  # bilinear: a pixel of each corner


@pytest.mark.parametrize(
    ("points", "box"),
    [([], (0.2, 0.5, 0.4, 0.8)), ([INSIDE], (0.2, 0.5, 0.4, 0.8)), ([INSIDE, (0.4, 0.7, 1)], None)],
)
def test_a_prompt_of_parts_takes_the_first_mask(
    tmp_path: Path, points: list[Point], box: Region | None
) -> None:
    """A box, a box and a click, and two clicks mean one thing."""
    found, _ = segment(load(tmp_path, write_meta_sam), picture(), points, box)

    assert found.box == SHAPE
    assert found.score == pytest.approx(BOX_SCORE)


def test_both_layouts_see_an_image_alike(tmp_path: Path) -> None:
    """One normalises and pads by itself, and for the other it is done here."""
    photo = (CHECKOUT / "samples/owl.jpg").read_bytes()
    meta, transformers = (
        np.asarray(SAM.unpack(load(tmp_path / write.__name__, write).encode(photo, PIXELS)[1]))
        for write in (write_meta_sam, write_transformers_sam)
    )

    np.testing.assert_allclose(meta, transformers, atol=1e-3)
    assert meta[0, 0, :3].any()


def test_a_layout_that_takes_no_box_says_so(tmp_path: Path) -> None:
    """Its labels 2 and 3 mean nothing."""
    with pytest.raises(NotImplementedHere, match="`points`") as refused:
        segment(load(tmp_path, write_transformers_sam), picture(), [], SHAPE)

    assert refused.value.code == "no_box_prompt"


def test_points_are_scaled_and_labelled_as_meta_asks() -> None:
    """A point of no meaning is added where there is no box, and the corners of a box come last."""
    coordinates, labels = prompt_arrays((768, 1024), [(0.5, 0.5, 1), (1, 0, 0)], None)
    np.testing.assert_array_equal(coordinates, [[512, 384], [1024, 0], [0, 0]])
    np.testing.assert_array_equal(labels, [1, 0, -1])

    coordinates, labels = prompt_arrays((1024, 512), [(0.5, 0.5, 1)], (0, 0.25, 0.5, 1))
    np.testing.assert_array_equal(coordinates, [[256, 512], [0, 256], [256, 1024]])
    np.testing.assert_array_equal(labels, [1, 2, 3])


@pytest.mark.parametrize(
    ("size", "expected"),
    [((3000, 4000), (768, 1024)), ((7, 3), (1024, 439)), ((1, 1), (1024,) * 2)],
)
def test_the_longer_side_becomes_1024(size: tuple[int, int], expected: tuple[int, int]) -> None:
    """Rounded as in SAM's own code."""
    assert resized(size) == expected


def test_padding_is_right_and_below_after_normalising() -> None:
    """Zeros, which are the mean colour."""
    pixels = normalise(np.full((10, 20, 3), 255, np.float32))

    assert pixels.shape == (1, 3, 1024, 1024)
    np.testing.assert_allclose(pixels[0, :, 9, 19], ((255 - MEAN) / STD).ravel(), rtol=1e-6)
    assert not pixels[:, :, 10:].any()
    assert not pixels[:, :, :, 20:].any()


@pytest.mark.parametrize(
    ("scores", "is_click", "chosen"),
    [
        ([0.9, 0.1, 0.2, 0.3], True, 3),
        ([0.1, 0.4, 0.2, 0.3], False, 0),
        ([0.1, 0.4, 0.2], True, 1),
        ([0.1, 0.4, 0.2], False, 1),
        ([0.1], False, 0),
    ],
)
def test_the_mask_is_chosen_by_metas_rule(scores: list[float], is_click: bool, chosen: int) -> None:
    """For four masks, for three and for one."""
    assert choose(np.array(scores, np.float32), is_click=is_click) == chosen


@pytest.mark.parametrize(
    ("size", "shape"),
    [((3000, 4000), (768, 1024)), ((30, 40), (30, 40)), ((20, 400), (20, 400)), ((1, 1), (1, 1))],
)
def test_a_mask_has_the_shape_of_its_image(size: tuple[int, int], shape: tuple[int, int]) -> None:
    """At most 1,024 pixels long; what stands in the padding does not show."""
    logits = np.full((256, 256), -1, np.float32)
    height, width = (side // 4 for side in resized(size))
    logits[:height, :width] = 1

    enlarged = enlarge(logits, resized(size), size)

    assert enlarged.shape == shape
    assert (enlarged[:-1, :-1] > 0).all()


def test_nothing_found_is_told(tmp_path: Path) -> None:
    """A network whose logits are all below zero."""
    folder = write_meta_sam(tmp_path)
    model = onnx.load(folder / "decoder.onnx")
    next(one for one in model.graph.initializer if one.name == "most").raw_data = np.array(
        -1, np.float32
    ).tobytes()
    onnx.save(model, folder / "decoder.onnx")
    with pytest.raises(Unprocessable) as told:
        segment(load_sam(str(folder), Inference(), Path()), picture(), [INSIDE])

    assert told.value.code == "no_segment"


def test_features_that_are_no_number_are_told(tmp_path: Path) -> None:
    """Not stored, and not sent on."""
    folder = write_meta_sam(tmp_path)
    model = onnx.load(folder / "encoder.onnx")
    next(one for one in model.graph.initializer if one.name == "std").raw_data = bytes(12)
    onnx.save(model, folder / "encoder.onnx")
    sam = load_sam(str(folder), Inference(), Path())
    with pytest.raises(ServiceError, match="finite"):
        sam.encode(picture(), PIXELS)


@pytest.mark.parametrize(
    ("features", "size", "told"),
    [
        (b"", (512, 1024), "features"),
        (bytes(2 * 2**20 - 1), (512, 1024), "features"),
        (bytes(2 * 2**20 + 2), (512, 1024), "features"),
        (bytes(2 * 2**20), (0, 1024), "size"),
        (bytes(2 * 2**20), (1, 10**9), "size"),
    ],
)
def test_what_no_encoder_gave_is_refused(
    tmp_path: Path, features: bytes, size: tuple[int, int], told: str
) -> None:
    """The message names the field."""
    with pytest.raises(BadRequest, match=told):
        load(tmp_path, write_meta_sam).decode(features, size, [INSIDE], None)


def test_a_digest_is_of_both_files(tmp_path: Path) -> None:
    """Another decoder gives other masks of the same features."""
    first = load(tmp_path, write_meta_sam)
    assert load(tmp_path, write_meta_sam).digest == first.digest
    model = onnx.load(tmp_path / "decoder.onnx")
    model.doc_string = "another"
    onnx.save(model, tmp_path / "decoder.onnx")

    assert load_sam(str(tmp_path), Inference(), Path()).digest != first.digest


def test_files_that_are_something_else_are_refused(tmp_path: Path) -> None:
    """At the start, with the file's name: encoder and decoder changed for each other."""
    write_meta_sam(tmp_path)
    encoder, decoder = tmp_path / "encoder.onnx", tmp_path / "decoder.onnx"
    decoder.write_bytes(encoder.read_bytes())
    with pytest.raises(ConfigError, match=r"decoder\.onnx is no decoder"):
        load_sam(str(tmp_path), Inference(), Path())
    write_transformers_sam(tmp_path)
    encoder.write_bytes((tmp_path / "onnx/prompt_encoder_mask_decoder.onnx").read_bytes())
    with pytest.raises(ConfigError, match=r"encoder\.onnx .*no encoder"):
        load_sam(str(tmp_path), Inference(), Path())


@pytest.mark.parametrize("write", WRITERS)
def test_a_decoder_may_be_loaded_alone(tmp_path: Path, write: Callable[[Path], Path]) -> None:
    """As TorchServe does in the processes that only decode; the digest is that of both."""
    whole = load(tmp_path, write)
    alone = load_sam(str(tmp_path), Inference(), Path(), encode=False)
    size, features = whole.encode(picture(), PIXELS)

    assert alone.digest == whole.digest
    assert alone.decode(features, size, [INSIDE], None).box == SHAPE
    with pytest.raises(ConfigError, match="without its encoder"):
        alone.encode(picture(), PIXELS)
