"""Segment Anything in TorchServe: the same answers as those of the embedded server."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from common.wire import encode
from devtools.services import Service, running
from devtools.tiny_model import write_tiny_model
from devtools.tiny_sam import SHAPE, picture, write_meta_sam
from inference.messages import SamDecodeRequest, SamEncodeReply, SamEncodeRequest, SegmentReply
from tests.torch.torchserve import TorchServe, torchserve

Answer = tuple[int, Any]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the tiny models."""
    folder = tmp_path_factory.mktemp("sam")
    write_tiny_model(folder / "tiny")
    write_meta_sam(folder / "tiny-sam")
    return folder


CONFIG = {"Inference": {"port": 0, "clip": "tiny", "mclip": None, "sam": "tiny-sam"}}


@pytest.fixture(scope="module")
def server(folder: Path) -> Iterator[TorchServe]:
    """TorchServe with the three archives."""
    with torchserve(folder, CONFIG) as server:
        yield server


@pytest.fixture(scope="module")
def embedded(folder: Path) -> Iterator[Service]:
    """The embedded server with the same models."""
    with running("inference/inference.py", CONFIG, cwd=folder) as service:
        yield service


def ask(service: Service, role: str, body: bytes) -> Answer:
    """The status and the message that a body is answered with, but for the request's id."""
    headers = service.key("inference") if isinstance(service, TorchServe) else {}
    response = service.request("POST", f"/predictions/{role}", body=body, headers=headers)
    if response.status == 200:
        return 200, response.data
    return response.status, {**msgspec.json.decode(response.data), "request_id": ""}


def test_both_engines_segment_alike(server: TorchServe, embedded: Service) -> None:
    """An image, a click, a box, and what is wrong: the same bytes, the same errors."""
    image = encode(SamEncodeRequest(picture("JPEG", 6)))
    encoded = msgspec.msgpack.decode(ask(embedded, "sam_encode", image)[1], type=SamEncodeReply)
    given: dict[str, Any] = {
        name: getattr(encoded, name) for name in ("features", "size", "digest")
    }
    click = encode(SamDecodeRequest(**given, points=[(0.3, 0.6, 1)]))
    bodies = [
        ("sam_encode", image),
        ("sam_encode", encode(SamEncodeRequest(describe=True))),
        ("sam_encode", encode(SamEncodeRequest(b"no image"))),
        ("sam_encode", b"{}"),
        ("sam_decode", click),
        ("sam_decode", encode(SamDecodeRequest(**given, box=(0.2, 0.5, 0.4, 0.8)))),
        ("sam_decode", encode(SamDecodeRequest(**given))),
        ("sam_decode", encode(SamDecodeRequest(**{**given, "digest": "other"}, box=SHAPE))),
    ]
    answers = [ask(server, role, body) for role, body in bodies]

    assert [status for status, _ in answers] == [200, 200, 415, 400, 200, 200, 400, 400]
    assert answers == [ask(embedded, role, body) for role, body in bodies]
    assert msgspec.msgpack.decode(answers[4][1], type=SegmentReply).box == SHAPE
