"""All services together, started by their documented commands."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from common.config import parse
from devtools.collection import Collection
from devtools.services import CHECKOUT, cluster, run_command, running, with_section
from devtools.tiny_model import write_tiny_model
from search.image_key import parse_id, shard_of

TEXTS = ["a red square", "the green photo", "blue", "a photo of the red square"]


@pytest.fixture(scope="module")
def collection(tmp_path_factory: pytest.TempPathFactory) -> Collection:
    """300 images in 21 shards."""
    return Collection(tmp_path_factory.mktemp("collection"), images=300, shards=21)


def test_21_search_servers_answer_as_brute_force_does(collection: Collection) -> None:
    """21 servers of a shard each: text, image, embedding and id queries give the exact best ten."""
    model = collection.model()
    config = with_section(collection.config, "Search", ef_search=300)
    with cluster(config, 21, collection.folder) as services:
        for text in TEXTS:
            answer = services.front.post("/v1/search", {"text": text})
            expected = collection.brute_force(model.encode_text([text])[0], 10)
            assert expected == [hit["path"] for hit in answer["hits"]]
            assert answer["coverage"]["shards"] == {
                "total": 21,
                "ok": 21,
                "timeout": 0,
                "failed": 0,
            }
        vector = np.random.default_rng(5).standard_normal(model.dim).astype(np.float32)
        answer = services.middle.post("/search", {"embedding": vector.tolist(), "k": 300})
        assert collection.brute_force(vector, 300) == [hit["path"] for hit in answer["hits"]]
        scores = [hit["score"] for hit in answer["hits"]]
        assert sorted(scores, reverse=True) == scores
        name = "images/0007.png"
        data = (collection.folder / name).read_bytes()
        response = services.front.request(
            "POST", "/v1/search", fields={"image": ("q.png", data), "k": "1"}
        )
        (hit,) = response.json()["hits"]
        assert name == hit["path"]
        like = services.front.get(f"/v1/search?id={hit['id']}&k=5")["hits"]
        nearest = collection.brute_force(model.encode_images([data])[0], 6)
        assert nearest[1:] == [hit["path"] for hit in like]


def test_one_server_may_hold_several_shards(collection: Collection) -> None:
    """Two servers with 11 and 10 shards, by --index 0,2,4..., give the same as 21."""
    held = [",".join(str(shard) for shard in range(first, 21, 2)) for first in (0, 1)]
    config = with_section(collection.config, "Search", ef_search=300)
    with cluster(config, 2, collection.folder, held) as services:
        answer = services.front.post("/v1/search", {"text": TEXTS[0]})

    expected = collection.brute_force(collection.model().encode_text([TEXTS[0]])[0], 10)
    assert expected == [hit["path"] for hit in answer["hits"]]
    assert answer["coverage"]["shards"]["ok"] == 21


def test_a_dead_shard_is_reported_not_fatal(collection: Collection) -> None:
    """With one of three servers killed the answer keeps the rest and says what is missing."""
    config = with_section(collection.config, "Middle", cache="off")  # which would have the whole
    with cluster(config, 3, collection.folder) as services:
        whole = services.front.post("/v1/search", {"text": "red", "k": 300})
        assert len(whole["hits"]) == 300
        services.search[1].kill()

        answer = services.front.post("/v1/search", {"text": "red", "k": 300})
        full = services.front.request(
            "POST", "/v1/search", json={"text": "red", "require_full": True}
        )

    kept = {hit["id"] for hit in answer["hits"]}
    lost = {hit["id"] for hit in whole["hits"]} - kept
    dead = set(parse(json.dumps(services.config)).search.shards_of(1, 21))
    assert dead == {shard_of(parse_id(identity)[0], 21) for identity in lost}
    assert dead.isdisjoint(shard_of(parse_id(identity)[0], 21) for identity in kept)
    assert answer["coverage"]["shards"] == {"total": 21, "ok": 14, "timeout": 0, "failed": 7}
    assert answer["coverage"]["degraded"]
    assert 0.666 < answer["coverage"]["fraction"] < 0.667
    assert (full.status, full.json()["code"]) == (503, "insufficient_coverage")
    assert full.headers["Retry-After"]


def test_too_little_coverage_is_an_error(collection: Collection) -> None:
    """Below min-coverage there is no answer, and with no shard at all either; front lives on."""
    with cluster(collection.config, 3, collection.folder) as services:
        services.search[0].kill()
        services.search[1].kill()
        some = services.front.request("POST", "/v1/search", json={"text": "red"})
        services.search[2].kill()
        none = services.front.request("POST", "/v1/search", json={"text": "red"})
        services.inference.kill()
        # another text: the embedding of that one is kept
        blind = services.front.request("POST", "/v1/search", json={"text": "green"})

        assert (some.status, some.json()["code"]) == (503, "insufficient_coverage")
        assert (none.status, none.json()["code"]) == (503, "no_shard")
        assert (blind.status, blind.json()["code"]) == (503, "unavailable")
        assert services.front.request("GET", "/healthz").status == 200
        assert services.front.request("GET", "/ready").status == 503


@pytest.mark.parametrize("model", ["other", "starter"])
def test_another_model_than_the_index_s_is_refused(
    collection: Collection, tmp_path: Path, model: str
) -> None:
    """Vectors of another space, as long or longer, are never compared: the answer says why."""
    if model == "other":
        model = str(write_tiny_model(tmp_path / "other", seed=1))
    config = with_section(collection.config, "Inference", clip=model)
    with cluster(config, 1, collection.folder) as services:
        response = services.front.request("POST", "/v1/search", json={"text": "red"})

    assert (response.status, response.json()["code"]) == (503, "model_mismatch")


SCRIPTS = [
    "front/front.py",
    "front/keys.py",
    "middle/middle.py",
    "inference/inference.py",
    "inference/archive.py",
    "search/search.py",
    "prepare/save_embedding.py",
    "prepare/build_index.py",
    "prepare/prepare.py",
    "prepare/rollback.py",
    "common/supervisor.py",
]


@pytest.mark.parametrize("script", SCRIPTS)
def test_every_command_works_as_script_as_module_and_imported(script: str) -> None:
    """python X/X.py, python -m X.X and import X.X, each from the checkout."""
    module = script.removesuffix(".py").replace("/", ".")
    for how in ([script, "--help"], ["-m", module, "--help"], ["-c", f"import {module}"]):
        done = subprocess.run(
            [sys.executable, *how], cwd=CHECKOUT, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        assert ("--config" in done.stdout) == ("--help" in how)


@pytest.mark.parametrize("script", SCRIPTS)
def test_a_wrong_configuration_ends_in_one_line_that_names_the_key(script: str) -> None:
    """Exit status 2, the key at fault on standard error, no stack trace."""
    needed = ("name", "--scope", "admin") if script == "front/keys.py" else ()
    done = run_command(script, {"Middle": {"prot": 1}}, *needed)

    assert done.returncode == 2
    assert "prot" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("script", ["search/search.py", "middle/middle.py", "front/front.py"])
def test_a_taken_port_is_named(collection: Collection, script: str) -> None:
    """A server whose port is taken says which, and ends."""
    config = with_section(collection.config, "Search", server_list=["127.0.0.1:0"])
    with running("search/search.py", config, cwd=collection.folder) as service:
        taken = with_section(config, "Search", server_list=[service.address])
        taken = with_section(taken, "Middle", port=service.port)
        taken = with_section(taken, "Front", port=service.port)
        done = run_command(script, taken, cwd=collection.folder)

    assert done.returncode == 2
    assert service.address in done.stderr
