"""All services on a real architecture, chosen by one line of config.json."""

import base64
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from devtools.services import CHECKOUT, Cluster, cluster, run_command, with_section
from inference.clip.model import load_model

PHOTOS = ("cat-chelsea.jpg", "koala.jpg", "bison.jpg", "owl.jpg")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A collection that was prepared with the starter."""
    folder = tmp_path_factory.mktemp("system")
    (folder / "images").mkdir()
    for name in PHOTOS:
        shutil.copy(CHECKOUT / "samples" / name, folder / "images")
    done = run_command("prepare/prepare.py", starter(), cwd=folder)
    assert done.returncode == 0, done.stderr
    return folder


def starter() -> dict[str, Any]:
    config = {"Prepare": {"images": ["images"]}, "Search": {"shards": 1}}
    return with_section(config, "Inference", clip="starter")


@pytest.fixture(scope="module")
def vit(exported: Callable[[str], Path]) -> str:
    return str(exported("ViT-S-32-alt") / "exported")


@pytest.fixture(scope="module")
def m_clip(exported: Callable[[str], Path]) -> str:
    return str(exported("m-clip") / "exported")


def test_another_model_on_an_old_index_is_refused(folder: Path, vit: str) -> None:
    """Before prepare has run with it: the reason, and never the starter's neighbours for it."""
    with cluster(with_section(starter(), "Inference", clip=vit), 1, folder) as services:
        response = services.front.request("POST", "/v1/search", json={"text": "a cat"})

    assert response.status == 503
    assert "model_mismatch" == response.json()["code"]


@pytest.fixture(scope="module")
def services(folder: Path, vit: str, m_clip: str) -> Iterator[Cluster]:
    """ViT-S-32 after one line was changed and prepare has run again; M-CLIP beside it."""
    config = with_section(starter(), "Inference", clip=vit)
    done = run_command("prepare/prepare.py", config, cwd=folder)
    assert done.returncode == 0, done.stderr
    with cluster(with_section(config, "Inference", mclip=m_clip), 1, folder) as services:
        yield services


def scores(answer: Any) -> dict[str, float]:
    return {Path(hit["path"]).name: hit["score"] for hit in answer["hits"]}


@pytest.mark.parametrize(
    ("text", "name"), [("a photo of a cat", "vit"), ("eine Katze auf dem Fenster", "m_clip")]
)
def test_texts_find_what_brute_force_finds(
    services: Cluster, request: pytest.FixtureRequest, vit: str, text: str, name: str
) -> None:
    """English by the model's own text tower, German by M-CLIP's, against the same images."""
    text_model = load_model(request.getfixturevalue(name), image=False)
    files = [(CHECKOUT / "samples" / photo).read_bytes() for photo in PHOTOS]
    expected = load_model(vit, text=False).encode_images(files) @ text_model.encode_text([text])[0]

    found = scores(services.front.post("/v1/search", {"text": text}))

    np.testing.assert_allclose([found[photo] for photo in PHOTOS], expected, atol=1e-4)


def test_an_image_finds_itself(services: Cluster) -> None:
    """With a cosine of 1."""
    data = base64.b64encode((CHECKOUT / "samples" / PHOTOS[1]).read_bytes()).decode()
    answer = services.front.post("/v1/search", {"image": data})

    assert PHOTOS[1] == next(iter(scores(answer)))
    assert answer["hits"][0]["score"] == pytest.approx(1, abs=1e-5)


def test_classes_come_from_texts(services: Cluster) -> None:
    """It has no classifier of its own: labels are texts."""
    data = base64.b64encode((CHECKOUT / "samples" / PHOTOS[0]).read_bytes()).decode()
    answer = services.front.post("/v1/classify", {"images": [data], "labels": ["cat", "dog"]})

    assert "zero-shot" == answer["method"]
    assert 1 == pytest.approx(sum(one["score"] for one in answer["results"][0]["classes"]))


def test_without_a_multilingual_tower_the_answer_says_so(folder: Path, vit: str) -> None:
    """One line changed and no more: other languages are answered with a warning."""
    with cluster(with_section(starter(), "Inference", clip=vit), 1, folder) as services:
        answer = services.front.post("/v1/search", {"text": "eine Katze auf dem Fenster"})

    assert any("answered by clip" in warning for warning in answer["warnings"])
