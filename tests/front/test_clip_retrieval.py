"""clip-retrieval's own ClipClient against front."""

import json
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from devtools.services import Cluster, cluster, with_section
from tests.front.conftest import CONFIG
from tests.gateway.clients import LARGE, run

QUERY = """
import json, sys
from clip_retrieval.clip_client import ClipClient, Modality
url, options, query = sys.argv[1], *map(json.loads, sys.argv[2:])
client = ClipClient(url=url, indice_name="clip-search", modality=Modality.IMAGE, **options)
print(json.dumps(client.query(**query)))
"""


@pytest.fixture(scope="module")
def services(root: Path) -> Iterator[Cluster]:
    """All services, with this API alone."""
    with cluster(with_section(CONFIG, "Front", wires=["clip-retrieval"]), 1, root) as running:
        yield running


def query(services: Cluster, options: dict[str, Any], **asked: Any) -> list[dict[str, Any]]:
    """What ClipClient returns."""
    url = f"http://{services.front.address}/knn-service"
    found: list[dict[str, Any]] = json.loads(
        run(LARGE, QUERY, url, json.dumps(options), json.dumps(asked))[-1]
    )
    return found


def search(services: Cluster, **asked: Any) -> list[dict[str, Any]]:
    """The hits of our own API."""
    hits: list[dict[str, Any]] = services.front.post("/v1/search", asked)["hits"]
    return hits


def test_its_client_finds_images_by_a_text(services: Cluster) -> None:
    """With its defaults and with all options; the hits and scores are those of /v1/search."""
    found = query(services, {}, text="a red square")
    own = search(services, text="a red square", k=40, model="clip", dedup="near")
    assert [hit["image_path"] for hit in found] == [hit["path"] for hit in own]
    assert [hit["similarity"] for hit in found] == pytest.approx([hit["score"] for hit in own])
    assert all(hit["image"] and isinstance(hit["id"], int) for hit in found)

    options = {"num_images": 2, "deduplicate": False, "use_mclip": False, "aesthetic_score": 1}
    found = query(services, options, text="a red square")
    own = search(services, text="a red square", k=2, model="clip", dedup="none")
    assert [hit["image_path"] for hit in found] == [hit["path"] for hit in own]


def test_its_client_finds_images_by_an_image_and_a_vector(services: Cluster, root: Path) -> None:
    """A file that the client reads is its own best hit, and so is its vector."""
    (best, *_) = search(services, text="a red square", k=1)
    file = root / best["path"]
    options = {"deduplicate": False, "num_images": 3}
    by_file = query(services, options, image=str(file))
    assert by_file[0]["similarity"] == pytest.approx(1, abs=1e-3)
    assert len(by_file) == 3

    data = b64encode(file.read_bytes()).decode()
    (vector,) = services.front.post("/v1/embed", {"images": [data]})["embeddings"]
    by_vector = query(services, options, embedding_input=vector)
    assert [hit["id"] for hit in by_vector] == [hit["id"] for hit in by_file]
