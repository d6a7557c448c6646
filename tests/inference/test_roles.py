"""Roles of the embedded inference server, each on devices and a runtime of its own."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from common.wire import unpack_rows
from devtools.services import Service, metric, run_command, running, wait_until
from devtools.tiny_model import write_tiny_model
from inference.messages import EmbedReply, EmbedRequest

TEXTS = ["a red square", "blue", "a green photo"]
ROLES = {
    "clip": {"replicas": 1, "max-batch": 4},
    "mclip": {"runtime": "openvino", "replicas": 2, "threads": 1},
}


def config(**keys: Any) -> dict[str, Any]:
    """The section Inference for the tiny model in both roles."""
    return {"Inference": {"port": 0, "clip": "tiny", "mclip": "tiny", **keys}}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the tiny model."""
    folder = tmp_path_factory.mktemp("roles")
    write_tiny_model(folder / "tiny")
    return folder


@pytest.fixture(scope="module")
def server(folder: Path) -> Iterator[Service]:
    """A server whose roles differ."""
    with running("inference/inference.py", config(roles=ROLES), cwd=folder) as service:
        yield service


def embed(server: Service, role: str, **inputs: Any) -> EmbedReply:
    body = msgspec.msgpack.encode(EmbedRequest(**inputs))
    response = server.request("POST", f"/predictions/{role}", body=body)
    assert response.status == 200, response.data
    return msgspec.msgpack.decode(response.data, type=EmbedReply)


def is_idle(server: Service, name: str, replicas: int) -> bool:
    """Whether so many replicas have nothing to do for a queue."""
    return replicas == metric(server, f'idle_workers{{batcher="{name}",device="cpu"}}')


def test_each_role_runs_by_its_own_keys(server: Service) -> None:
    """The runtimes differ, and so do the digests; the embeddings and the space do not."""
    clip, mclip = (embed(server, role, texts=TEXTS) for role in ROLES)

    assert (1, 2) == (clip.replicas, mclip.replicas)
    assert clip.digest != mclip.digest
    assert clip.space == mclip.space
    rows = [unpack_rows(reply.rows, reply.dim) for reply in (clip, mclip)]
    np.testing.assert_allclose(rows[0], rows[1], atol=1e-3)


def test_the_roles_share_a_model_where_nothing_differs(folder: Path) -> None:
    """Then they have equal digests, and mclip embeds images too."""
    same = {"device": "cpu", "replicas": 1}
    given = config(roles={"clip": same, "mclip": same})
    with running("inference/inference.py", given, cwd=folder) as service:
        clip, mclip = (embed(service, role, describe=True) for role in ROLES)

        assert clip.digest == mclip.digest
        assert is_idle(service, "mclip-image", 1)


def test_the_metrics_tell_of_each_role_and_kind_of_input(server: Service) -> None:
    """The queue, the idle replicas and how full the last batch was."""
    queues = {"clip-text": 1, "clip-image": 1, "mclip-text": 2}
    for role in ROLES:
        embed(server, role, texts=["red"])
    for name, replicas in queues.items():
        assert 0 == metric(server, f'queue_items{{batcher="{name}"}}')
        wait_until(partial(is_idle, server, name, replicas))
    assert 1 / 4 == metric(server, 'batch_fill{batcher="clip-text"}')
    assert 1 / 64 == pytest.approx(metric(server, 'batch_fill{batcher="mclip-text"}'))


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"roles": {"mclip": {"device": "cuda:99"}}}, "'cuda:99', but there are"),
        ({"roles": {"mclip": {"precision": "int8"}}}, "no model.int8.onnx"),
        ({"roles": {"nobody": {}}}, "unknown field `nobody` - at `$.Inference.roles`"),
        ({"device": ["cpu", "cuda:99"]}, "'cuda:99', but there are"),
    ],
)
def test_a_role_that_cannot_run_stops_the_start(
    folder: Path, keys: dict[str, Any], message: str
) -> None:
    """With what is wrong."""
    done = run_command("inference/inference.py", config(**keys), cwd=folder)

    assert 2 == done.returncode
    assert message in done.stderr
