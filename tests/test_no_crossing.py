"""Two workers each of front and middle, 5,000 queries at once: each has its own answer."""

import http.client
import json
import threading
from contextlib import closing

import numpy as np
import pytest

from devtools.collection import Collection
from devtools.services import Cluster, cluster, with_section
from tests.servers import SERVERS, under

IMAGES = 250
THREADS = 40
EACH = 125
"""Queries of a thread: 5,000 of all under each server."""


@pytest.fixture(scope="module")
def collection(tmp_path_factory: pytest.TempPathFactory) -> Collection:
    """Images of which no two are alike, in two shards."""
    return Collection(tmp_path_factory.mktemp("crossing"), images=IMAGES, shards=2)


@pytest.mark.parametrize("server", SERVERS)
def test_no_answer_is_another_s(collection: Collection, server: str) -> None:
    """By the vector of an image that image is found, whoever else asks meanwhile."""
    config = with_section(collection.config, "Middle", workers=2, cache="off")
    config = with_section(config, "Front", workers=2)
    config = under(server, with_section(config, "Search", ef_search=IMAGES))
    paths = collection.paths()
    bodies = [json.dumps({"embedding": one.tolist(), "k": 1}) for one in collection.vectors()]
    wrong: list[str] = []
    with cluster(config, 1, collection.folder) as services:

        def ask(seed: int) -> None:
            order = np.random.default_rng(seed).permutation(IMAGES)[:EACH]
            wrong.extend(_wrong(services, seed, [(paths[i], bodies[i]) for i in order.tolist()]))

        threads = [threading.Thread(target=ask, args=(seed,)) for seed in range(THREADS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert [] == wrong


def _wrong(services: Cluster, seed: int, queries: list[tuple[str, str]]) -> list[str]:
    """The answers to queries that are not theirs, on a connection that is sometimes a new one."""
    wrong = []
    connection = http.client.HTTPConnection("127.0.0.1", services.front.port, timeout=60)
    with closing(connection):
        for number, (path, body) in enumerate(queries):
            if number % 25 == seed % 25:
                connection.close()  # the next may go to the other worker
            request_id = f"query-{seed}-{number}"
            headers = {"Content-Type": "application/json", "X-Request-Id": request_id}
            connection.request("POST", "/v1/search", body, headers)
            answer = json.loads(connection.getresponse().read())
            if request_id != answer["request_id"] or path != answer["hits"][0]["path"]:
                wrong.append(f"{request_id}: {path}: {answer}")
    return wrong
