"""TorchServe in the place of the embedded server: the same answers, behind its key."""

import re
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from msgspec.structs import replace

from common.config import Config
from common.errors import Problem
from common.wire import MSGPACK, unpack_rows
from devtools.collection import Collection
from devtools.services import (
    CHECKOUT,
    Service,
    cluster,
    free_ports,
    running,
    with_section,
)
from devtools.tiny_model import POISON, write_tiny_model
from inference.app import max_body_bytes
from inference.messages import IMAGE_BATCH, EmbedReply
from inference.torchserve.handler import WORKERS
from tests.torch.torchserve import PORTS, SNAPSHOT, TorchServe, torchserve

PHOTO = (CHECKOUT / "samples/owl.jpg").read_bytes()
MESSAGES: dict[str, Any] = {
    "texts": {"texts": ["a red square of the", "a", "blue photo"]},
    "a text that is cut": {"texts": ["a", "red " * 50]},
    "a poison text": {"texts": ["a", POISON, "blue"]},
    "a text without an embedding": {"texts": ["a", ""]},
    "images": {"images": [PHOTO, PHOTO[:1000] + PHOTO[1000:]]},
    "broken images": {"images": [PHOTO, b"no image", PHOTO[: len(PHOTO) // 2], PHOTO]},
    "new images": {"images": [b"no image", PHOTO], "perceptual": True},
    "no time left": {"texts": ["a"], "deadline_ms": 0},
    "nothing": {},
    "both kinds": {"texts": ["a"], "images": [PHOTO]},
    "a wrong type": {"texts": [1]},
    "an unknown field": {"nope": 1},
    "no struct": [1, 2],
}
BODIES = {name: msgspec.msgpack.encode(message) for name, message in MESSAGES.items()}
BODIES |= {"no msgpack": b"\xc1", "half a message": BODIES["texts"][:9], "no body": b""}


@pytest.fixture(scope="module")
def collection(tmp_path_factory: pytest.TempPathFactory) -> Collection:
    """40 images, a model for them, and another text tower of the same space as mclip."""
    collection = Collection(tmp_path_factory.mktemp("collection"), images=40, shards=2)
    write_tiny_model(collection.folder / "words", seed=1)
    shutil.rmtree(collection.folder / "words/visual")
    collection.config = with_section(collection.config, "Inference", mclip="words")
    return collection


@pytest.fixture(scope="module")
def server(collection: Collection) -> Iterator[TorchServe]:
    """TorchServe with both models."""
    with torchserve(collection.folder, collection.config) as server:
        yield server


@pytest.fixture(scope="module")
def embedded(collection: Collection) -> Iterator[Service]:
    """The embedded server with the same models."""
    config = with_section(collection.config, "Inference", port=0)
    with running("inference/inference.py", config, cwd=collection.folder) as service:
        yield service


Answer = tuple[int, str | None, EmbedReply | Problem]


def ask(service: Service, role: str, body: bytes) -> Answer:
    """The status, content type and message that a body is answered with."""
    headers = {"Content-Type": MSGPACK}
    if isinstance(service, TorchServe):
        headers |= service.key("inference")
    response = service.request("POST", f"/predictions/{role}", body=body, headers=headers)
    message: EmbedReply | Problem
    if response.status == 200:
        message = msgspec.msgpack.decode(response.data, type=EmbedReply)
        for problem in message.problems.values():
            if problem.code == "deadline_exceeded":  # where it was noticed is chance
                problem.detail = ""
    else:
        message = msgspec.json.decode(response.data, type=Problem)
        message.request_id = ""
    return response.status, response.headers["Content-Type"], message


def assert_same(one: Answer, other: Answer) -> None:
    """Both are alike, rows to 1e-6."""
    assert one[:2] == other[:2]
    if isinstance(one[2], EmbedReply) and isinstance(other[2], EmbedReply):
        # a worker of TorchServe tells of itself alone
        alike = [replace(reply, rows=b"", replicas=1) for reply in (one[2], other[2])]
        assert alike[0] == alike[1]
        rows = [unpack_rows(reply.rows, reply.dim) for reply in (one[2], other[2])]
        np.testing.assert_allclose(rows[0], rows[1], atol=1e-6)
    else:
        assert one[2] == other[2]


@pytest.mark.parametrize("role", ["clip", "mclip"])
@pytest.mark.parametrize("name", BODIES)
def test_both_engines_answer_alike(
    server: TorchServe, embedded: Service, role: str, name: str
) -> None:
    """Rows, problems, warnings, space, model, and the refusals with their status and code."""
    assert_same(ask(server, role, BODIES[name]), ask(embedded, role, BODIES[name]))


def test_requests_that_share_a_batch_are_answered_one_by_one(
    server: TorchServe, embedded: Service
) -> None:
    """All bodies at once, many times: a bad one takes no other along and answers are not mixed."""
    names = list(BODIES) * 6  # 96: TorchServe queues 100 of a model
    with ThreadPoolExecutor(len(names)) as pool:
        answers = list(pool.map(lambda name: ask(server, "clip", BODIES[name]), names))

    expected = {name: ask(embedded, "clip", body) for name, body in BODIES.items()}
    for name, answer in zip(names, answers, strict=True):
        assert_same(answer, expected[name])


def test_the_largest_body_is_taken_and_a_larger_one_refused(server: TorchServe) -> None:
    """Eight uploads as large as front lets in go through; what the embedded server refuses too."""
    config = Config()
    images = [bytes(config.front.max_body_bytes)] * IMAGE_BATCH
    status, _, reply = ask(server, "clip", msgspec.msgpack.encode({"images": images}))
    assert isinstance(reply, EmbedReply)
    assert (200, {415}) == (status, {problem.status for problem in reply.problems.values()})

    over = bytes(max_body_bytes(config) + 1)
    response = server.request(
        "POST", "/predictions/clip", body=over, headers=server.key("inference")
    )
    assert 413 == response.status


def test_text_and_image_queries_are_answered_by_torchserve(
    collection: Collection, server: TorchServe
) -> None:
    """Front, middle and search with TorchServe give exact search's first hits."""
    model = collection.model()
    config = with_section(
        collection.config, "Inference", port=server.port, key_file=str(server.key_file)
    )
    with cluster(config, 2, collection.folder, inference=server) as services:
        text = services.front.post("/v1/search", {"text": "a red square", "k": 5})
        found = services.front.request(
            "POST",
            "/v1/search",
            fields={"image": ("q.png", (collection.folder / "images/0007.png").read_bytes())},
        ).json()

    expected = collection.brute_force(model.encode_text(["a red square"])[0], 5)
    assert expected == [hit["path"] for hit in text["hits"]]
    assert "images/0007.png" == found["hits"][0]["path"]


def test_without_the_key_nobody_is_let_in(collection: Collection, server: TorchServe) -> None:
    """TorchServe refuses; middle without the key is not ready and answers 503."""
    response = server.request("POST", "/predictions/clip", body=BODIES["texts"])
    assert 400 == response.status
    assert "Token" in response.json()["message"]

    config = with_section(collection.config, "Inference", port=server.port)
    missing = with_section(config, "Inference", key_file="no/such/file.json")
    for without in (config, missing):
        with cluster(without, 1, collection.folder, inference=server) as services:
            answer = services.middle.request("POST", "/search", json={"text": "a"})
            ready = services.middle.request("GET", "/ready")
        assert (503, "unavailable") == (answer.status, answer.json()["code"])
        assert "key" in answer.json()["detail"]
        assert 503 == ready.status


def test_a_running_middle_goes_on_after_new_keys_and_without_mclip(
    collection: Collection, tmp_path: Path
) -> None:
    """A renewed key, and TorchServe started anew with other keys and no mclip."""
    for model in ("tiny", "words"):
        shutil.copytree(collection.folder / model, tmp_path / model)
    ports = free_ports(len(PORTS))
    key_file = str(tmp_path / "key_file.json")
    config = with_section(collection.config, "Inference", port=ports[0], key_file=key_file)
    with ExitStack() as stack:
        with torchserve(tmp_path, config, ports) as server:
            middle = stack.enter_context(
                cluster(config, 1, collection.folder, inference=server)
            ).middle
            assert "words" == middle.post("/search", {"text": "red ä", "k": 1})["model"]
            old = server.key("inference")
            renewal = "/token?type=inference"
            server.other("GET", "management", renewal, headers=server.key("API"))
            assert old != server.key("inference")
            assert "tiny" == middle.post("/search", {"text": "red"})["model"]
        with torchserve(tmp_path, with_section(config, "Inference", mclip=None), ports):
            asked = middle.request("POST", "/search", json={"text": "red", "model": "mclip"})
            chosen = middle.post("/search", {"text": "green ä"})  # of which nothing is kept

    assert (400, "model_unavailable") == (asked.status, asked.json()["code"])
    assert "tiny" == chosen["model"]
    assert any("no model mclip" in warning for warning in chosen["warnings"])


def test_no_model_can_be_added_and_metrics_are_for_prometheus(server: TorchServe) -> None:
    """The management API wants its key, and with it refuses to register a model."""
    register = ("POST", "management", "/models?url=clip.mar&model_name=more")
    without = server.other(*register)
    refused = server.other(*register, headers=server.key("management"))
    metrics = server.other("GET", "metrics", "/metrics", headers=server.key("management"))

    assert (400, 405) == (without.status, refused.status)
    assert 200 == metrics.status
    assert b"# TYPE ts_inference_requests_total counter" in metrics.data


def test_the_shipped_settings_are_closed_and_fit() -> None:
    """Every API on loopback, keys on, model API off; workers and sizes as our code has them."""
    lines = SNAPSHOT.read_text().splitlines()
    keys = dict(line.split("=", 1) for line in lines if re.match("[a-z_]+=", line))

    addresses = [value for name, value in keys.items() if name.endswith("_address")]
    assert 5 == len(addresses)
    assert all("127.0.0.1" in address for address in addresses)
    assert "http://127.0.0.1:8080" == keys["inference_address"]
    assert ("false", "false") == (keys["enable_model_api"], keys["disable_token_authorization"])
    assert str(max_body_bytes(Config())) == keys["max_request_size"]
    assert str(WORKERS) == keys["default_workers_per_model"]
    assert 2 == SNAPSHOT.read_text().count(f'"minWorkers": {WORKERS}, "maxWorkers": {WORKERS}')
