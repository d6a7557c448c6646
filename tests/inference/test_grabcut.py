"""Segments from the embedded server, over its own client."""

import asyncio
import io
from collections.abc import Iterator

import pytest
from PIL import Image

from common.errors import ServiceError
from devtools.services import CHECKOUT, Service, running
from devtools.tiny_model import write_tiny_model
from inference.client import InferenceClient
from inference.messages import GrabCutRequest, SegmentReply

OWL = (CHECKOUT / "samples/owl.jpg").read_bytes()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """The server of the tiny model."""
    folder = tmp_path_factory.mktemp("model")
    write_tiny_model(folder / "tiny")
    config = {"Inference": {"port": 0, "clip": "tiny", "mclip": None}}
    with running("inference/inference.py", config, cwd=folder) as service:
        yield service


def grabcut(server: Service, request: GrabCutRequest) -> SegmentReply:
    async def ask() -> SegmentReply:
        client = InferenceClient([server.address])
        try:
            return await client.grabcut(request, asyncio.get_running_loop().time() + 10)
        finally:
            await client.close()

    return asyncio.run(ask())


def test_a_click_finds_the_owl(server: Service) -> None:
    """Its box is a part of the photo around the click; the mask has the photo's shape."""
    found = grabcut(server, GrabCutRequest(image=OWL, points=[(0.5, 0.5, 1)]))
    x0, y0, x1, y1 = found.box

    assert 0 <= x0 < 0.5 < x1 <= 1
    assert 0 <= y0 < 0.5 < y1 <= 1
    assert 0.2 < found.score <= 1
    with Image.open(io.BytesIO(OWL)) as photo, Image.open(io.BytesIO(found.mask)) as mask:
        assert mask.width / mask.height == pytest.approx(photo.width / photo.height, rel=0.01)


@pytest.mark.parametrize(
    ("asked", "status", "told"),
    [
        (GrabCutRequest(image=OWL), 400, "`box`, or `points`"),
        (GrabCutRequest(image=OWL, points=[(0.5, 2, 1)]), 400, "points"),
        (GrabCutRequest(image=OWL[:2000], box=(0, 0, 1, 1)), 422, "broken"),
        (GrabCutRequest(image=b"", box=(0, 0, 1, 1)), 415, "format|image"),
    ],
    ids=["no prompt", "outside", "cut off", "empty"],
)
def test_a_wrong_request_has_its_own_error(
    server: Service, asked: GrabCutRequest, status: int, told: str
) -> None:
    """As the public API tells it."""
    with pytest.raises(ServiceError, match=told) as refused:
        grabcut(server, asked)

    assert refused.value.status == status


def test_a_message_that_is_none_is_refused(server: Service) -> None:
    """400, as for every role."""
    assert server.request("POST", "/predictions/grabcut", body=b"{}").status == 400
