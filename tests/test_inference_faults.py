"""Inference that is dead, hangs, or has no memory, and inputs that break it: who is harmed."""

import resource
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from devtools.collection import Collection
from devtools.services import Cluster, Service, cluster, hanging, wait_until, with_section
from devtools.tiny_model import POISON
from tests.cache_probe import ask, outcome
from tests.front.front_client import Reply
from tests.front.pictures import encoded
from tests.servers import SERVERS, under

SPARE_BYTES = 64 * 2**20
"""Enough for a text and for small images, but not for a photo of 50 megapixels."""
PIXELS = (9000, 5000)


@pytest.fixture(scope="module")
def collection(tmp_path_factory: pytest.TempPathFactory) -> Collection:
    """40 images in two shards."""
    return Collection(tmp_path_factory.mktemp("faults"), images=40, shards=2)


@pytest.fixture
def services(collection: Collection, request: pytest.FixtureRequest) -> Iterator[Cluster]:
    """All services, with half a second for a query, under the server that a test names."""
    config = with_section(collection.config, "Middle", deadline_ms=500)
    config = under(getattr(request, "param", "auto"), config)
    with cluster(config, 1, collection.folder) as running:
        wait_until(lambda: "bypass" != outcome(front(running, text="the the")))
        yield running


def front(services: Cluster, **query: Any) -> Reply:
    """Front's reply to a query."""
    return ask(services.front, "/v1/search", **query)


def assert_the_rest_answers(services: Cluster, collection: Collection, kept: Reply) -> None:
    """What needs no inference: a query that was asked before, an id, a vector, an image's file."""
    hits = kept.json()["hits"]
    assert "hit" == outcome(front(services, text="red"))
    assert 200 == front(services, id=hits[0]["id"]).status
    vector = collection.vectors()[7]
    found = front(services, embedding=vector.tolist()).json()["hits"]
    assert collection.paths()[7] == found[0]["path"]
    assert 200 == services.front.request("GET", hits[0]["thumbnail"]).status


def test_dead_inference_costs_new_texts_alone(services: Cluster, collection: Collection) -> None:
    """New texts are 503 and say so; all else is answered."""
    kept = front(services, text="red")
    services.inference.kill()

    refused = front(services, text="green")

    assert (503, "unavailable") == (refused.status, refused.json()["code"])
    assert_the_rest_answers(services, collection, kept)
    assert 503 == services.front.request("GET", "/ready").status


def test_hanging_inference_costs_new_texts_alone(services: Cluster, collection: Collection) -> None:
    """New texts are 503 at their deadline, and soon after it goes on they are answered again."""
    kept = front(services, text="red")
    with hanging(services.inference):
        refused = front(services, text="green")
        assert (503, "deadline_exceeded") == (refused.status, refused.json()["code"])
        assert_the_rest_answers(services, collection, kept)
    wait_until(lambda: 200 == front(services, text="blue").status)


@contextmanager
def without_memory(service: Service) -> Iterator[None]:
    """A process that gets little more memory than it has."""
    process = service.process.pid
    with open(f"/proc/{process}/statm") as file:  # noqa: PTH123
        size = int(file.read().split()[0]) * resource.getpagesize()
    before = resource.prlimit(process, resource.RLIMIT_AS)
    resource.prlimit(process, resource.RLIMIT_AS, (size + SPARE_BYTES, before[1]))
    try:
        yield
    finally:
        resource.prlimit(process, resource.RLIMIT_AS, before)


def test_inference_without_memory_answers_what_it_has_room_for(
    services: Cluster, collection: Collection
) -> None:
    """A large photo is decoded by a child with memory of its own, or is late; all else goes on."""
    photo = encoded_photo()
    kept = front(services, text="red")
    small = (collection.folder / collection.paths()[3]).read_bytes()

    def search(image: bytes) -> Reply:
        return services.front.request("POST", "/v1/search", fields={"image": ("a", image)})

    search(photo)  # the children start with the first one
    wait_until(lambda: 200 == search(small).status)
    with without_memory(services.inference):
        for _ in range(3):
            answered = search(photo)
            assert answered.status in (200, 503), answered.data
            assert 200 == answered.status or int(answered.headers["Retry-After"]) > 0
        assert_the_rest_answers(services, collection, kept)
        wait_until(lambda: 200 == search(small).status)  # behind photos that are decoded still
    assert 200 == front(services, text="green photo").status


def encoded_photo() -> bytes:
    """A photo that takes 135 MB of memory."""
    from PIL import Image

    return encoded(Image.new("RGB", PIXELS, "red"), "PNG")


@pytest.mark.parametrize("services", SERVERS, indirect=True)
def test_of_many_at_once_only_what_breaks_the_model_fails(services: Cluster) -> None:
    """Texts that share batches with one that no tower can run, many times over."""
    replies: dict[str, Reply] = {}
    texts = [f"{POISON * (number % 10 == 0)} {'red ' * (number % 7 + 1)}" for number in range(90)]

    def search(number: int) -> None:
        reply = front(services, text=texts[number], k=1 + number)
        replies[f"{number} {texts[number]}"] = reply

    threads = [threading.Thread(target=search, args=(number,)) for number in range(len(texts))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    failed = {name for name, reply in replies.items() if reply.status != 200}
    assert {name for name in replies if POISON in name} == failed
    assert {500} == {replies[name].status for name in failed}
