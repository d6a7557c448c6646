"""Segments by what the inference server has, and their masks as run lengths."""

import io
from typing import cast

import numpy as np
import pytest
from PIL import Image

from common.errors import InvalidResponse, NotFound, NotImplementedHere
from inference.client import InferenceClient
from inference.messages import GrabCutRequest, SegmentReply
from middle.run_lengths import run_lengths
from middle.segment_messages import SegmentQuery
from middle.segmenter import Segmenter

BOX = (0.0, 0.0, 0.5, 1.0)


def png(mask: list[list[int]]) -> bytes:
    file = io.BytesIO()
    Image.fromarray(np.array(mask, np.bool_)).save(file, "PNG")
    return file.getvalue()


class FakeInference:
    """Has GrabCut or nothing."""

    def __init__(self) -> None:
        self.error: Exception | None = None
        self.requests: list[GrabCutRequest] = []

    async def grabcut(self, request: GrabCutRequest, _deadline: float) -> SegmentReply:
        self.requests.append(request)
        if self.error:
            raise self.error
        return SegmentReply(BOX, 1.0, png([[1, 0]]))


@pytest.fixture
def inference() -> FakeInference:
    return FakeInference()


@pytest.fixture
def segmenter(inference: FakeInference) -> Segmenter:
    return Segmenter(cast(InferenceClient, inference))


QUERY = SegmentQuery(image=b"image", points=[(0.1, 0.2, 1)], box=BOX)


async def test_without_a_model_the_colours_answer(
    segmenter: Segmenter, inference: FakeInference
) -> None:
    """By GrabCut, which gets the prompt and the image."""
    answer = await segmenter.segment(QUERY, 1e9)

    assert (answer.method, answer.box, answer.score) == ("grabcut", BOX, 1.0)
    (request,) = inference.requests
    assert (request.image, request.points, request.box) == (b"image", QUERY.points, BOX)


async def test_a_server_that_has_nothing_is_told_so(
    segmenter: Segmenter, inference: FakeInference
) -> None:
    """501: such as TorchServe without a model for it."""
    inference.error = NotFound("no model grabcut", "model_unavailable")
    with pytest.raises(NotImplementedHere, match="no model grabcut"):
        await segmenter.segment(QUERY, 1e9)


@pytest.mark.parametrize(
    ("mask", "counts"),
    [
        ([[0, 1, 1], [0, 0, 1]], [2, 1, 1, 2]),
        ([[1, 0], [1, 0]], [0, 2, 2]),
        ([[1]], [0, 1]),
        ([[0, 0]], [2]),
    ],
)
def test_run_lengths_go_down_the_columns_and_begin_outside(
    mask: list[list[int]], counts: list[int]
) -> None:
    """As COCO has them: the examples are counted by hand."""
    assert run_lengths(png(mask)) == {"size": [len(mask), len(mask[0])], "counts": counts}


@pytest.mark.parametrize("file", [b"", b"no PNG", png([[1, 0]])[:40]])
def test_a_mask_that_is_none_is_an_error_of_ours(file: bytes) -> None:
    """503, not a traceback."""
    with pytest.raises(InvalidResponse):
        run_lengths(file)
