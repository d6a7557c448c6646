"""Segment Anything in TorchServe: the same answers as those of the embedded server."""

import base64
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
import urllib3

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
        ("sam_encode", b"\xc1"),
        ("sam_decode", click),
        ("sam_decode", encode(SamDecodeRequest(**given, box=(0.2, 0.5, 0.4, 0.8)))),
        ("sam_decode", encode(SamDecodeRequest(**given))),
        ("sam_decode", encode(SamDecodeRequest(**{**given, "digest": "other"}, box=SHAPE))),
    ]
    answers = [ask(server, role, body) for role, body in bodies]

    assert [status for status, _ in answers] == [200, 200, 415, 400, 200, 200, 400, 400]
    assert answers == [ask(embedded, role, body) for role, body in bodies]
    assert msgspec.msgpack.decode(answers[4][1], type=SegmentReply).box == SHAPE


def post(server: TorchServe, role: str, **given: Any) -> urllib3.BaseHTTPResponse:
    """The reply to what a client of segment-anything-services sends; all it adds is the key."""
    key = server.key("inference")
    return server.request(
        "POST", f"/predictions/{role}", headers=key | given.pop("headers", {}), **given
    )


def post_json(server: TorchServe, role: str, fields: dict[str, Any]) -> Any:
    """As its page in a browser does."""
    headers = {"Content-Type": "application/json", "Accept": "application/json"}
    reply = post(server, role, body=msgspec.json.encode(fields), headers=headers)
    assert (reply.status, reply.headers["Content-Type"]) == (200, "application/json"), reply.data
    return reply.json()


def test_clients_of_segment_anything_services_are_answered(server: TorchServe) -> None:
    """In JSON: an image as text, as the body or in a form; then the masks of the largest one."""
    shape = (2048, 2048)
    image = base64.b64encode(picture()).decode()
    encoded = post_json(server, "sam_encode", {"encoded_image": image})
    for given in ({"body": picture()}, {"fields": {"data": ("a.png", picture())}}):
        assert post(server, "sam_encode", **given).json() == encoded
    found = post_json(
        server,
        "sam_decode",
        {
            "image_embeddings": encoded["image_embedding"],
            "image_shape": shape,
            "input_prompt": [[600, 600], [620, 620]],
            "input_label": [1, 1],
            "decode_type": "multi_point",
        },
    )

    assert encoded["status"] == found["status"] == "success"
    assert len(found["confidence_scores"]) == 4
    masks = np.frombuffer(base64.b64decode(found["masks"]), np.bool_).reshape(4, *shape)
    assert masks[0, 600, 600]
    assert not masks[0, :400].any()
    wrong = post(server, "sam_decode", body=b'{"image_embeddings": ""}')
    assert (wrong.status, wrong.json()["code"]) == (400, "bad_request")
