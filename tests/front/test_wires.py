"""The APIs of other projects: OpenAI's client asks itself, the others' requests are written out."""

import json
import threading
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest
from flask import Flask, request
from urllib3 import BaseHTTPResponse
from urllib3.filepost import encode_multipart_formdata
from werkzeug.serving import make_server

from devtools.services import Cluster, cluster, with_section
from middle.messages import MAX_HITS
from tests.front.conftest import CONFIG
from tests.front.pictures import encoded, noise

ALL = ["openai", "clip-retrieval", "immich", "weaviate"]
TEXTS = ["a red square", "something blue", "a cat, sitting"]
PICTURE = encoded(noise(3), "PNG")


@pytest.fixture(scope="module")
def others() -> Iterator[int]:
    """The port of a server that is asked as Immich's would be, and says what came."""
    app = Flask("immich")

    @app.post("/predict")
    def predict() -> dict[str, Any]:
        return {"entries": json.loads(request.form["entries"]), "files": list(request.files)}

    server = make_server("127.0.0.1", 0, app, threaded=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server.server_port
    server.shutdown()
    thread.join()


@pytest.fixture(scope="module")
def services(root: Path, others: int) -> Iterator[Cluster]:
    """All services, with all APIs."""
    keys = {"wires": ALL, "immich_upstream": f"127.0.0.1:{others}"}
    with cluster(with_section(CONFIG, "Front", **keys), 1, root) as running:
        yield running


@pytest.fixture(scope="module")
def client(services: Cluster) -> Iterator[openai.OpenAI]:
    """OpenAI's own client."""
    base = f"http://{services.front.address}/v1"
    with openai.OpenAI(base_url=base, api_key="none", max_retries=0) as made:
        yield made


def embedded(services: Cluster, **inputs: Any) -> list[list[float]]:
    """What our own API answers."""
    reply = services.front.request("POST", "/v1/embed", json=inputs)
    found: list[list[float]] = reply.json()["embeddings"]
    return found


def post(services: Cluster, path: str, message: Any) -> BaseHTTPResponse:
    """POST as ClipClient does: JSON without a Content-Type."""
    return services.front.request("POST", path, body=json.dumps(message).encode())


def predict(services: Cluster, entries: Any, **fields: Any) -> BaseHTTPResponse:
    """POST as Immich's server does."""
    given = {"entries": json.dumps(entries), **fields}
    body, content_type = encode_multipart_formdata(given)
    headers = {"Content-Type": content_type}
    return services.front.request("POST", "/predict", body=body, headers=headers)


@pytest.mark.parametrize("encoding", ["float", "base64"])
def test_openai_s_client_embeds_texts_and_images(
    client: openai.OpenAI, services: Cluster, encoding: Any
) -> None:
    """In order, also mixed; the vectors are those of /v1/embed."""
    url = f"data:image/png;base64,{b64encode(PICTURE).decode()}"
    given = [TEXTS[0], url, *TEXTS[1:]]
    reply = client.embeddings.create(input=given, model="clip", encoding_format=encoding)
    assert [item.index for item in reply.data] == [0, 1, 2, 3]
    if encoding == "float":
        texts = embedded(services, texts=TEXTS, model="clip")
        (image,) = embedded(services, images=[b64encode(PICTURE).decode()])
        expected = [texts[0], image, *texts[1:]]
        for item, vector in zip(reply.data, expected, strict=True):
            assert item.embedding == pytest.approx(vector, abs=1e-6)
    else:
        plain = client.embeddings.create(input=given, model="clip", encoding_format="float")
        raw = client.embeddings.with_raw_response.create(input=given, model="clip")
        assert isinstance(json.loads(raw.text)["data"][0]["embedding"], str)  # its default
        for item, other in zip(raw.parse().data, plain.data, strict=True):
            assert item.embedding == pytest.approx(other.embedding, abs=1e-6)


def test_openai_s_client_sends_many(client: openai.OpenAI) -> None:
    """As many as OpenAI takes, and none more; each with its own vector."""
    texts = [f"text {number}, of many" for number in range(300)]
    reply = client.embeddings.create(input=texts, model="auto")
    alone = client.embeddings.create(input=texts[137], model="auto")
    assert reply.data[137].embedding == pytest.approx(alone.data[0].embedding, abs=1e-5)
    with pytest.raises(openai.BadRequestError, match="1 to 2048"):
        client.embeddings.create(input=["a"] * 2049, model="auto")


def test_openai_s_client_knows_the_models(client: openai.OpenAI, services: Cluster) -> None:
    """By their names, and by that of the index; another is told with those."""
    assert [model.id for model in client.models.list()] == ["auto", "clip", "mclip"]
    known = services.front.request("GET", "/v1/info").json()["model"]
    assert client.embeddings.create(input="a", model=known).model == known
    assert client.models.retrieve("clip").id == "clip"
    with pytest.raises(openai.NotFoundError, match="known are auto, clip, mclip") as error:
        client.embeddings.create(input="a", model="text-embedding-3-small")
    assert (error.value.code, error.value.param) == ("model_not_found", "model")


@pytest.mark.parametrize(
    ("given", "param"),
    [
        ({"input": [[1, 2, 3]]}, "input"),
        ({"input": []}, "input"),
        ({"input": "a", "dimensions": 8}, "dimensions"),
        ({"input": ""}, None),
        ({"input": "data:image/png;base64,%%%"}, None),
    ],
)
def test_openai_s_client_is_told_what_is_wrong(
    client: openai.OpenAI, given: dict[str, Any], param: str | None
) -> None:
    """In OpenAI's shape, with the field where it has one; the next request is answered."""
    with pytest.raises(openai.BadRequestError) as error:
        client.embeddings.create(model="clip", **given)
    assert error.value.type == "invalid_request_error"
    assert error.value.param == param
    assert client.embeddings.create(input="a", model="clip").data


def test_clip_client_finds_images(services: Cluster) -> None:
    """With their pictures; past `num_images` only numbers, which lead back to the metadata."""
    asked = {"text": "a red square", "num_images": 2, "num_result_ids": 5, "use_mclip": False}
    hits = post(services, "/knn-service", {**asked, "aesthetic_score": 9}).json()
    search = {"text": "a red square", "k": 5, "model": "clip", "dedup": "none"}
    own = services.front.request("POST", "/v1/search", json=search).json()["hits"]
    assert [hit["similarity"] for hit in hits] == [hit["score"] for hit in own]
    assert [hit["image_path"] for hit in hits[:2]] == [hit["path"] for hit in own[:2]]
    assert all(hit["image"] for hit in hits[:2])
    assert all(hit.keys() == {"id", "similarity"} for hit in hits[2:])

    told = post(services, "/metadata", {"ids": [hit["id"] for hit in hits]}).json()
    assert [item["id"] for item in told] == [hit["id"] for hit in hits]
    paths = [item["metadata"]["image_path"] for item in told]
    assert paths == [hit["path"] for hit in own]
    assert services.front.request("GET", "/indices-list").json() == ["clip-search"]
    assert post(services, "/metadata", {"ids": [1]}).status == 404
    assert post(services, "/metadata", {"ids": [1] * (MAX_HITS + 1)}).status == 400


def test_clip_client_searches_by_image_and_by_vector(services: Cluster) -> None:
    """Of what is not empty the first counts."""
    image = post(services, "/knn-service", {"text": "", "image": b64encode(PICTURE).decode()})
    (vector,) = embedded(services, images=[b64encode(PICTURE).decode()])
    by_vector = post(services, "/knn-service", {"embedding_input": vector, "text": None})
    assert [hit["id"] for hit in image.json()] == [hit["id"] for hit in by_vector.json()]
    assert post(services, "/knn-service", {"text": "a", "modality": "text"}).status == 400


def test_immich_embeds_texts_and_images(services: Cluster) -> None:
    """The vector is JSON in a text; the size of an image stands beside it."""
    name = services.front.request("GET", "/v1/info").json()["model"].upper()
    text = predict(
        services,
        {"clip": {"textual": {"modelName": name, "options": {"language": "en"}}}},
        text=TEXTS[0],
    ).json()
    (expected,) = embedded(services, texts=TEXTS[:1])
    assert json.loads(text["clip"]) == pytest.approx(expected, abs=1e-6)
    image = predict(
        services,
        {"clip": {"visual": {"modelName": name}}},
        image=("blob", PICTURE, "application/octet-stream"),  # as a Blob of Node is sent
    ).json()
    (expected,) = embedded(services, images=[b64encode(PICTURE).decode()])
    assert json.loads(image["clip"]) == pytest.approx(expected, abs=1e-6)
    assert (image["imageHeight"], image["imageWidth"]) == (30, 40)
    assert services.front.request("GET", "/ping").data == b"pong"
    other = predict(services, {"clip": {"textual": {"modelName": "ViT-L-14"}}}, text="a")
    assert (other.status, other.json()["code"]) == (404, "model_not_found")


def test_what_is_not_clip_is_passed_on_to_immich(services: Cluster) -> None:
    """Whole, with its file."""
    faces = {"facial-recognition": {"detection": {"modelName": "buffalo_l"}}}
    assert predict(services, faces, image=("a.png", PICTURE)).json() == {
        "entries": faces,
        "files": ["image"],
    }


def test_weaviate_gets_vectors(services: Cluster) -> None:
    """Of texts and of images, in one request."""
    images = [b64encode(PICTURE).decode()]
    alone = post(services, "/vectorize", {"texts": [], "images": images}).json()
    reply = post(services, "/vectorize", {"texts": TEXTS, "images": images}).json()
    assert (alone["textVectors"], alone["imageVectors"]) == ([], reply["imageVectors"])
    for vectors, expected in (
        (reply["textVectors"], embedded(services, texts=TEXTS)),
        (reply["imageVectors"], embedded(services, images=images)),
    ):
        for vector, row in zip(vectors, expected, strict=True):
            assert vector == pytest.approx(row, abs=1e-6)
    for path in ("/.well-known/ready", "/.well-known/live"):
        assert services.front.request("GET", path).status == 204
    assert services.front.request("GET", "/meta").json()["images"] > 0


def test_only_openai_s_api_is_on_by_default(cluster: Cluster) -> None:
    """The others are for those who name them."""
    assert cluster.front.request("GET", "/v1/models").status == 200
    for path in ("/knn-service", "/predict", "/vectorize"):
        assert cluster.front.request("POST", path, body=b"{}").status == 404
