"""Segment Anything in the embedded server, over its own client."""

import asyncio
import io
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import pytest
from PIL import Image

from common.errors import ServiceError
from devtools.services import Service, running
from devtools.tiny_model import write_tiny_model
from devtools.tiny_sam import SHAPE, picture, write_meta_sam, write_sam2
from inference.client import InferenceClient
from inference.messages import SamDecodeRequest, SamEncodeReply, SegmentReply
from inference.prompt_checks import MAX_POINTS
from inference.segment.served_sam import ENCODE_QUEUE

INSIDE = (0.3, 0.6, 1)
Result = TypeVar("Result")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the tiny models."""
    folder = tmp_path_factory.mktemp("model")
    write_tiny_model(folder / "tiny")
    write_meta_sam(folder / "tiny-sam")
    return folder


@pytest.fixture(scope="module")
def server(folder: Path) -> Iterator[Service]:
    """The server of the tiny models, for which a request is slow that takes half a second."""
    models = {"clip": "tiny", "mclip": None, "sam": "tiny-sam"}
    config = {"Inference": {"port": 0, **models}, "Process": {"stuck-s": 0.5}}
    with running("inference/inference.py", config, cwd=folder) as one:
        yield one


def ask(server: Service, work: Callable[[InferenceClient, float], Awaitable[Result]]) -> Result:
    """The result of calls of a client, which have two minutes: busy cores take seconds each."""

    async def call() -> Result:
        client = InferenceClient([server.address])
        try:
            return await work(client, asyncio.get_running_loop().time() + 120)
        finally:
            await client.close()

    return asyncio.run(call())


@pytest.fixture(scope="module")
def encoded(server: Service) -> SamEncodeReply:
    """The features of the picture."""
    return ask(server, lambda client, deadline: client.sam_encode(picture(), deadline))


def prompt(encoded: SamEncodeReply, **given: Any) -> SamDecodeRequest:
    fields = {name: getattr(encoded, name) for name in ("features", "size", "digest")}
    return SamDecodeRequest(**{**fields, **given})


def slow_picture() -> bytes:
    """A file of a few bytes that takes a part of a second to decode, in the queue's turn."""
    file = io.BytesIO()
    Image.new("RGB", (4000, 4000), "red").save(file, "PNG")
    return file.getvalue()


@pytest.mark.parametrize(("kind", "orientation"), [("PNG", 1), ("JPEG", 6)])
def test_an_image_is_encoded_once_and_prompted_often(
    server: Service, kind: str, orientation: int
) -> None:
    """Encode, click, box; upright, as the camera was held."""

    async def work(client: InferenceClient, deadline: float) -> list[Any]:
        encoded = await client.sam_encode(picture(kind, orientation), deadline)
        prompts = [prompt(encoded, points=[INSIDE]), prompt(encoded, box=(0.2, 0.5, 0.4, 0.8))]
        found = [await client.sam_decode(request, deadline) for request in prompts]
        return [encoded, await client.sam_digest(deadline), *found]

    encoded, digest, *found = ask(server, work)
    assert (encoded.model, encoded.size, encoded.digest) == ("tiny-sam", (512, 1024), digest)
    assert len(encoded.features) == 2 * 256 * 64 * 64
    assert [one.box for one in found] == [SHAPE, SHAPE]
    with Image.open(io.BytesIO(found[0].mask)) as mask:
        assert (mask.mode, mask.size) == ("1", (1024, 512))


def test_a_click_does_not_wait_for_an_encode(server: Service, encoded: SamEncodeReply) -> None:
    """While images are encoded and others wait, each of ten clicks is answered."""
    slow = slow_picture()

    async def work(client: InferenceClient, deadline: float) -> tuple[float, float]:
        began = time.monotonic()
        encodes = [asyncio.ensure_future(client.sam_encode(slow, deadline)) for _ in range(4)]
        await asyncio.sleep(0.2)
        for _ in range(10):
            await client.sam_decode(prompt(encoded, points=[INSIDE]), deadline)
        clicked_s = time.monotonic() - began
        assert not encodes[-1].done()
        await asyncio.gather(*encodes)
        return clicked_s, time.monotonic() - began

    clicked_s, encoded_s = ask(server, work)
    assert clicked_s < encoded_s


def test_more_encodes_than_the_queue_holds_are_refused(server: Service) -> None:
    """At once, while the others are answered; those that wait are not called stuck."""
    slow = slow_picture()

    async def work(client: InferenceClient, deadline: float) -> list[Any]:
        calls = [client.sam_encode(slow, deadline) for _ in range(ENCODE_QUEUE + 4)]
        return await asyncio.gather(*calls, return_exceptions=True)

    found = ask(server, work)
    refused = [one for one in found if isinstance(one, ServiceError)]
    assert 1 <= len(refused) <= 4
    assert {one.code for one in refused} == {"overloaded"}
    assert sum(isinstance(one, SamEncodeReply) for one in found) == len(found) - len(refused)
    metrics = server.request("GET", "/metrics").data.decode()
    assert "clip_search_stuck_requests_total{" not in metrics


def test_who_has_no_time_gets_no_encode(server: Service) -> None:
    """The error is that of the deadline."""

    async def work(client: InferenceClient, _: float) -> None:
        await client.sam_encode(slow_picture(), asyncio.get_running_loop().time() + 0.05)

    with pytest.raises(ServiceError) as told:
        ask(server, work)

    assert (told.value.status, told.value.code) == (503, "deadline_exceeded")


def test_each_queue_has_its_counts(server: Service, encoded: SamEncodeReply) -> None:
    """As those of the other roles."""
    asked = prompt(encoded, points=[INSIDE])
    ask(server, lambda client, deadline: client.sam_decode(asked, deadline))
    metrics = server.request("GET", "/metrics").data.decode()

    for verb in ("encode", "decode"):
        assert f'clip_search_batch_items_total{{batcher="sam_{verb}",outcome="ok"}}' in metrics


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({}, "`box`, or `points`"),
        ({"points": [(0.5, 0.5, 0)]}, "`box`, or `points`"),
        ({"points": [(0.5, 1.01, 1)]}, r"points\[0\]"),
        ({"points": [INSIDE, (float("nan"), 0, 1)]}, r"points\[1\]"),
        ({"points": [(0.5, 0.5, 2)]}, r"points\[0\]"),
        ({"points": [INSIDE] * (MAX_POINTS + 1)}, "`points`"),
        ({"points": [INSIDE] * 1001}, "`points`"),
        ({"box": (0.5, 0.1, 0.4, 0.9)}, "`box`"),
        ({"box": (0.5, 0.5, 0.5, 0.5)}, "`box`"),
        ({"box": (0, 0, 1, 1.1)}, "`box`"),
        ({"points": [INSIDE], "features": b"short"}, "`features`"),
        ({"points": [INSIDE], "size": (0, 10)}, "`size`"),
    ],
)
def test_a_wrong_prompt_names_its_field(
    server: Service, encoded: SamEncodeReply, given: dict[str, Any], told: str
) -> None:
    """400, and the next prompt is answered."""
    with pytest.raises(ServiceError, match=told) as refused:
        ask(server, lambda client, deadline: client.sam_decode(prompt(encoded, **given), deadline))

    assert (refused.value.status, refused.value.code) == (400, "bad_request")


def test_features_of_another_model_have_their_own_error(
    server: Service, encoded: SamEncodeReply
) -> None:
    """So that who has kept them encodes the image again."""
    asked = prompt(encoded, points=[INSIDE], digest="another")
    with pytest.raises(ServiceError, match="encode the image again") as refused:
        ask(server, lambda client, deadline: client.sam_decode(asked, deadline))

    assert (refused.value.status, refused.value.code) == (400, "other_model")


@pytest.mark.parametrize(
    ("image", "status"), [(b"", 415), (b"no image", 415), (picture()[:2000], 422)]
)
def test_a_wrong_image_has_its_own_error(server: Service, image: bytes, status: int) -> None:
    """As an image that is embedded has."""
    with pytest.raises(ServiceError) as refused:
        ask(server, lambda client, deadline: client.sam_encode(image, deadline))

    assert refused.value.status == status


def test_messages_that_are_none_are_refused(server: Service) -> None:
    """400, as for every role."""
    for role in ("sam_encode", "sam_decode"):
        assert server.request("POST", f"/predictions/{role}", body=b"{}").status == 400


def test_sam_2_is_served(folder: Path) -> None:
    """Over the same messages, with more features."""
    write_sam2(folder / "tiny-sam2")
    models = {"clip": "tiny", "mclip": None, "sam": "tiny-sam2"}

    async def work(client: InferenceClient, deadline: float) -> SegmentReply:
        encoded = await client.sam_encode(picture(), deadline)
        assert len(encoded.features) == 8 * 2**20
        return await client.sam_decode(prompt(encoded, points=[INSIDE]), deadline)

    with running("inference/inference.py", {"Inference": {"port": 0, **models}}, cwd=folder) as one:
        assert ask(one, work).box == SHAPE


def test_without_a_model_the_roles_are_not_there(folder: Path) -> None:
    """404, with the key that would name one."""
    config = {"Inference": {"port": 0, "clip": "tiny", "mclip": None}}
    with running("inference/inference.py", config, cwd=folder) as server:
        with pytest.raises(ServiceError, match=r"Inference\.sam") as told:
            ask(server, lambda client, deadline: client.sam_digest(deadline))

        assert (told.value.status, told.value.code) == (404, "model_unavailable")
