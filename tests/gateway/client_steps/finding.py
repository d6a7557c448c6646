"""Steps: ranking, searching, indexing, models by name, errors."""

import asyncio
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from clip_client import Client
from docarray import Document, DocumentArray
from PIL import Image

from tests.gateway.client_steps.given import TEXTS, Given, blob, fails, step


@step
def unknown_model_is_named(given: Given) -> None:
    call = lambda: given.client.encode(TEXTS, parameters={"model_name": "ViT-Z"})  # noqa: E731
    fails(call, "ViT-Z", "starter")


@step
def profile(given: Given) -> None:
    for found in (given.client.profile(), given.client.profile("a cat")):
        assert set(found) == {
            "Roundtrip", "Client-server network", "Server", "Gateway-CLIP network", "CLIP model"
        }  # fmt: skip


@step
def rank_texts_for_an_image(given: Given) -> None:
    matches = [Document(text="a photo of a castle"), Document(text="a photo of a cat")]
    (found,) = given.client.rank([Document(blob=blob(given.cat), matches=matches)])
    assert found.matches[0].text == "a photo of a cat"
    scores = [match.scores["clip_score"].value for match in found.matches]
    assert scores == sorted(scores, reverse=True)
    assert abs(sum(scores) - 1) < 1e-5
    assert -1 <= found.matches[0].scores["clip_score_cosine"].value <= 1
    assert found.matches[0].embedding is None


@step
def rank_images_for_a_text(given: Given) -> None:
    matches = [Document(uri=given.other), Document(uri=given.cat)]
    document = Document(text="a photo of a cat", matches=matches)
    (found,) = given.client.rank([document])
    assert found.matches[0].uri == given.cat


@step
def search_by_text(given: Given) -> None:
    (found,) = given.client.search(["a cat"], limit=3)
    assert len(found.matches) == 3
    assert Path(found.matches[0].uri).name in ("cat-chelsea.jpg", "kitten-with-yarn.jpg")
    distances = [match.scores["cosine"].value for match in found.matches]
    assert distances == sorted(distances)


@step
def search_by_image(given: Given) -> None:
    (found,) = given.client.search([given.cat])
    assert len(found.matches) == 10
    assert Path(found.matches[0].uri).name == Path(given.cat).name
    assert found.matches[0].scores["cosine"].value < 0.01


@step
def index_then_search(given: Given) -> None:
    with TemporaryDirectory() as folder:
        paths = [random_image(Path(folder, f"{number}.png")) for number in range(12)]
        documents = [Document(uri=path, tags={"n": n, "a": "b"}) for n, path in enumerate(paths)]
        indexed = given.client.index(documents)
        given.same_as_encoded(indexed[:, "embedding"], paths)
        found = given.client.search(paths, limit=1)
        for number, document in enumerate(found):
            (match,) = document.matches
            assert match.uri == paths[number]
            assert (match.tags["n"], match.tags["a"]) == (number, "b")
            assert match.scores["cosine"].value < 0.01
        new = random_image(Path(folder, "new.png"))
        given.client.index([new])
        assert given.client.search([new], limit=1)[0].matches[0].uri == new


@step
def index_asynchronously(given: Given) -> None:
    pixels = np.random.default_rng().integers(0, 256, (60, 60, 3), np.uint8)
    document = Document(tensor=pixels, tags={"kind": "tensor"})
    (found,) = asyncio.run(given.client.aindex([document]))
    assert found.embedding is not None
    (found,) = given.client.search([Document(tensor=pixels)], limit=1)
    assert found.matches[0].tags["kind"] == "tensor"


@step
def texts_are_not_indexed(given: Given) -> None:
    fails(lambda: given.client.index(TEXTS), "document 0", "images alone")


@step
def broken_image_is_named_and_the_next_request_is_answered(given: Given) -> None:
    documents = [Document(text="a cat"), Document(blob=b"no image")]
    fails(lambda: given.client.encode(documents), "document 1", documents[1].id)
    given.same(given.client.encode(TEXTS), *TEXTS)


@step
def errors_are_always_seen(given: Given) -> None:
    for _ in range(40):
        fails(lambda: given.client.encode(["a cat", " "]), "the text is empty")


@step
def address_is_not_fetched(given: Given) -> None:
    # clip-client reads addresses itself, so this is a client that does not
    found = DocumentArray([Document(uri="http://127.0.0.1:1/x.jpg")])
    call = lambda: given.client._client.post("/encode", inputs=found)  # noqa: E731
    fails(call, "fetches no addresses")


@step
def empty_list(given: Given) -> None:
    assert given.client.encode([]) == []


@step
def long_text_is_cut(given: Given) -> None:
    replies: list[Any] = []
    given.client.encode(["cat " * 750], on_done=replies.append)
    assert replies[0].docs[0].embedding is not None
    assert "cut" in str(dict(replies[0].parameters)["warnings"][0])


@step
def compressed(given: Given) -> None:
    documents = DocumentArray([Document(text=text) for text in TEXTS])
    kind = {"compression": "Gzip"} if given.url.startswith("grpc") else {}
    found = given.client._client.post("/encode", inputs=documents, **kind)
    given.same(found[:, "embedding"], *TEXTS)


@step
def dead_port(given: Given) -> None:
    scheme = given.url.partition(":")[0]
    fails(lambda: Client(f"{scheme}://127.0.0.1:1").encode(TEXTS), kind=Exception)


def random_image(path: Path) -> str:
    """Write an image that no index has; returns its path."""
    pixels = np.random.default_rng().integers(0, 256, (50, 50, 3), np.uint8)
    Image.fromarray(pixels).save(path)
    return str(path)
