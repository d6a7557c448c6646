"""SAM 2: three arrays of features, and an image that is stretched."""

from pathlib import Path

import numpy as np
import pytest

from common.config import Inference
from common.errors import ConfigError, Unprocessable
from devtools.tiny_sam import SHAPE, picture, write_meta_sam, write_sam2
from inference.segment.sam import load_sam
from inference.segment.sam_layout import SAM2

INSIDE = (0.3, 0.6, 1)


def test_sam_2_stretches_an_image_and_keeps_three_arrays(tmp_path: Path) -> None:
    """Each reaches the decoder: one that belongs to another image finds nothing."""
    sam = load_sam(str(write_sam2(tmp_path)), Inference(), Path())
    size, features = sam.encode(picture(), Inference().max_pixels)
    values = SAM2.unpack(features)
    assert [one.shape for one in values] == list(SAM2.features.values())
    assert all(one[..., -1, :].any() for one in values)  # nothing is padded
    for number, one in enumerate(values):
        changed = [*values[:number], one + np.float16(1), *values[number + 1 :]]
        with pytest.raises(Unprocessable):
            sam.decode(SAM2.pack(changed), size, [INSIDE], None)

    assert sam.decode(features, size, [], (0.2, 0.5, 0.4, 0.8)).box == SHAPE


def test_an_encoder_and_a_decoder_of_two_kinds_are_refused(tmp_path: Path) -> None:
    """At the start, with both names."""
    write_meta_sam(tmp_path / "first")
    write_sam2(tmp_path / "second")
    (tmp_path / "second/decoder.onnx").rename(tmp_path / "first/decoder.onnx")
    with pytest.raises(ConfigError, match="same kind of SAM"):
        load_sam(str(tmp_path / "first"), Inference(), Path())
