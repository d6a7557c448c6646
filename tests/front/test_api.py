import io
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from devtools.services import Cluster
from tests.front import pictures
from tests.front.front_client import ask, assert_problem, embed, in_base64, post, upload
from tests.front.pictures import encoded, noise

THUMBNAIL_PIXELS = 320


def hits(response: Any) -> list[tuple[str, str]]:
    """Id and path of each hit; a score may differ in its last digits between two batches."""
    assert 200 == response.status, response.data
    return [(hit["id"], hit["path"]) for hit in response.json()["hits"]]


def id_of(cluster: Cluster, path: str) -> str:
    """The id of the image at a path."""
    return {path: id_ for id_, path in hits(ask(cluster, text="red", k=100))}[path]


def test_all_forms_of_a_query_find_the_same(cluster: Cluster) -> None:
    """A text in the address, in JSON and in a form gives the same hits in the same order."""
    request = cluster.front.request
    fields = {"text": "a red square", "k": "7", "dedup": "none", "min_score": "-1"}
    in_address = hits(request("GET", "/v1/search", fields=fields))

    assert 7 == len(in_address)
    assert in_address == hits(request("POST", "/v1/search", fields=fields))
    assert in_address == hits(ask(cluster, text="a red square", k=7, dedup="none", min_score=-1))


def test_an_image_finds_the_same_in_json_and_in_a_form(cluster: Cluster, root: Path) -> None:
    """An image file is found by itself first, whichever way it is sent."""
    file = (root / "images/noise-5.png").read_bytes()
    in_json = hits(ask(cluster, image=file, k=5))

    assert "images/noise-5.png" == in_json[0][1]
    assert in_json == hits(upload(cluster, file, k="5"))


def test_a_search_by_id_leaves_the_image_out(cluster: Cluster, root: Path) -> None:
    """More like an image: what its file finds, without itself; in the address as in JSON."""
    image_id = id_of(cluster, "images/noise-5.png")
    by_file = hits(ask(cluster, image=(root / "images/noise-5.png").read_bytes(), k=6))

    by_id = hits(ask(cluster, id=image_id, k=5))

    assert by_file[1:] == by_id
    assert by_id == hits(cluster.front.request("GET", f"/v1/search?id={image_id}&k=5"))


@pytest.mark.parametrize("path", ["/", "/v1/info", "/v1/search?text=red", "/v1/search", "/none"])
def test_head_answers_as_get_without_the_body(cluster: Cluster, path: str) -> None:
    """HEAD is answered wherever GET is, with the same status and type, also of an error."""
    head, got = (cluster.front.request(method, path) for method in ("HEAD", "GET"))

    assert (head.status, head.data) == (got.status, b"")
    assert head.headers["Content-Type"] == got.headers["Content-Type"]


def test_embeddings_are_those_that_searching_uses(cluster: Cluster, root: Path) -> None:
    """A text or image that /v1/embed embedded finds, as embedding, what it finds itself."""
    file = (root / "images/noise-4.png").read_bytes()
    (text,) = embed(cluster, texts=["a red square"])["embeddings"]
    (image,) = embed(cluster, images=[file])["embeddings"]

    assert hits(ask(cluster, text="a red square")) == hits(ask(cluster, embedding=text))
    assert hits(ask(cluster, image=file)) == hits(ask(cluster, embedding=image))
    assert 1 == pytest.approx(np.linalg.norm(text), abs=1e-5)


def test_inputs_embedded_together_are_as_embedded_alone(cluster: Cluster) -> None:
    """/v1/embed keeps the order, and says which input was cut."""
    texts = ["red", "green " * 50, "a photo of the blue square"]
    together = embed(cluster, texts=texts)

    alone = [embed(cluster, texts=[text])["embeddings"][0] for text in texts]

    np.testing.assert_allclose(alone, together["embeddings"], atol=1e-6)
    assert ["input 1: the text was cut to the model's 8 tokens"] == together["warnings"]
    assert "tiny" == together["model"]


def test_the_bad_one_of_many_inputs_is_named(cluster: Cluster) -> None:
    """An image that cannot be embedded is told by its place."""
    good = encoded(noise(), "PNG")
    message = json.dumps({"images": [in_base64(good), in_base64(b"no image")]}).encode()

    response = post(cluster, message, "/v1/embed")

    assert_problem(response, 415, "unsupported_media_type")
    assert response.json()["detail"].startswith("input 1: ")


def test_info_tells_what_can_be_searched(cluster: Cluster) -> None:
    """/v1/info counts the images and names version, model, dimensions and shards."""
    answer = ask(cluster, text="red").json()

    assert {
        "images": pictures.COUNT,
        "index_version": answer["index_version"],
        "model": "tiny",
        "dim": 16,
        "shards": 2,
        "position": 0,
        "fields": {
            "folder": ["text"],
            "format": ["text"],
            "modified": ["text"],
            "offline": ["boolean"],
            "path": ["text"],
            "size": ["number"],
            "when": ["text"],
        },
    } == cluster.front.get("/v1/info")


@pytest.mark.parametrize("name", ["large.jpg", "noise-3.png"])
def test_an_image_is_its_file(cluster: Cluster, root: Path, name: str) -> None:
    """/v1/images gives the bytes of the file, with its type, to be kept for an hour."""
    path = f"/v1/images/{id_of(cluster, f'images/{name}')}"

    response = cluster.front.request("GET", path)

    assert (root / "images" / name).read_bytes() == response.data
    assert {"jpg": "image/jpeg", "png": "image/png"}[name[-3:]] == response.headers["Content-Type"]
    assert "public, max-age=3600" == response.headers["Cache-Control"]


def test_an_image_is_sent_again_only_when_asked_for(cluster: Cluster, root: Path) -> None:
    """A conditional request is 304 without a body, and a range is that part of the file."""
    path = f"/v1/images/{id_of(cluster, 'images/large.jpg')}"
    first = cluster.front.request("GET", path)

    again = cluster.front.request("GET", path, headers={"If-None-Match": first.headers["ETag"]})
    other = cluster.front.request("GET", path, headers={"If-None-Match": '"other"'})
    part = cluster.front.request("GET", path, headers={"Range": "bytes=10-19"})

    assert (304, b"") == (again.status, again.data)
    assert (200, first.data) == (other.status, other.data)
    assert (206, first.data[10:20]) == (part.status, part.data)


def test_a_thumbnail_is_a_small_jpeg(cluster: Cluster) -> None:
    """A thumbnail keeps the shape; its longer side is as configured, or the image's own."""
    for name, size in (("large.jpg", (THUMBNAIL_PIXELS, 240)), ("noise-3.png", (40, 30))):
        path = f"/v1/images/{id_of(cluster, f'images/{name}')}/thumbnail"
        response = cluster.front.request("GET", path)
        assert "image/jpeg" == response.headers["Content-Type"]
        assert "public, max-age=3600" == response.headers["Cache-Control"]
        with Image.open(io.BytesIO(response.data)) as image:
            assert ("JPEG", size) == (image.format, image.size)


@pytest.mark.parametrize(
    ("name", "seed"), [("deep.png", 1), ("palette.gif", 2), ("noise-3.png", 3)], ids=str
)
def test_a_thumbnail_looks_like_its_image(cluster: Cluster, name: str, seed: int) -> None:
    """Also an image of 16 bits or with a palette keeps its colours in its thumbnail."""
    path = f"/v1/images/{id_of(cluster, f'images/{name}')}/thumbnail"

    with Image.open(io.BytesIO(cluster.front.request("GET", path).data)) as image:
        shown = np.asarray(image, dtype=float)

    assert 15 > np.abs(shown - np.asarray(noise(seed), dtype=float)).mean()


@contextmanager
def absent(file: Path) -> Iterator[None]:
    """Without a file of the collection, which other tests share, and which is put back."""
    content = file.read_bytes()
    file.unlink()
    yield
    file.write_bytes(content)


def test_a_thumbnail_goes_with_its_file(cluster: Cluster, root: Path) -> None:
    """Kind C: a thumbnail that front keeps is 410 as its image is, once the file is deleted."""
    path = f"/v1/images/{id_of(cluster, 'images/gone.png')}"
    first, again = (cluster.front.request("GET", f"{path}/thumbnail") for _ in range(2))
    assert (200, first.data) == (again.status, again.data)
    tag = {"If-None-Match": first.headers["ETag"]}
    assert 304 == cluster.front.request("GET", f"{path}/thumbnail", headers=tag).status

    with absent(root / "images/gone.png"):
        assert_problem(cluster.front.request("GET", path), 410, "image_gone")
        assert_problem(cluster.front.request("GET", f"{path}/thumbnail"), 410, "image_gone")
        gone = cluster.front.request("GET", f"{path}/thumbnail", headers=tag)
        assert_problem(gone, 410, "image_gone")


@pytest.mark.parametrize("content", [None, b"", b"no image"], ids=["deleted", "empty", "replaced"])
def test_a_thumbnail_of_no_image_is_gone(
    cluster: Cluster, root: Path, content: bytes | None
) -> None:
    """Where there is no image file any more its thumbnail is 410 with the code image_gone."""
    file = root / "images/replaced.png"
    image_id = id_of(cluster, "images/replaced.png")
    with absent(file):
        if content is not None:
            file.write_bytes(content)
        response = cluster.front.request("GET", f"/v1/images/{image_id}/thumbnail")

    assert_problem(response, 410, "image_gone")
