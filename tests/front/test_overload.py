"""More than front can do: what is too much is refused at once, what nobody waits for is left."""

import json
import socket
import threading
import time
from collections.abc import Iterator
from http.client import HTTPResponse
from typing import Any

import pytest

from common.server.serve import SPARE_THREADS
from devtools import open_loop
from devtools.collection import Collection
from devtools.services import Cluster, cluster, hanging, metric, wait_until, with_section
from devtools.words import all_queries
from tests.cache_probe import embedded
from tests.front.front_client import Reply
from tests.servers import SERVERS, under

LIMIT = 4
BATCHES = 'batch_size_count{batcher="inference-clip-texts"}'
LONG_MS = 20_000


@pytest.fixture(scope="module")
def collection(tmp_path_factory: pytest.TempPathFactory) -> Collection:
    """40 images in two shards."""
    return Collection(tmp_path_factory.mktemp("overload"), images=40, shards=2)


@pytest.fixture(scope="module", params=SERVERS)
def server(request: pytest.FixtureRequest) -> str:
    """The server of all services."""
    return str(request.param)


@pytest.fixture(scope="module")
def services(collection: Collection, server: str) -> Iterator[Cluster]:
    """All services; front takes four requests at a time. Whatever tests ask is not kept."""
    config = with_section(collection.config, "Front", max_in_flight=LIMIT)
    config = with_section(config, "Middle", deadline_ms=LONG_MS, cache="off")
    config = with_section(config, "Inference", replicas=1)  # so that two texts are under way
    with cluster(under(server, config), 1, collection.folder) as running:
        yield running


def search(services: Cluster, text: str, **headers: str) -> Reply:
    """The reply to a text."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return services.front.request("POST", "/v1/search", json={"text": text}, headers=named)


class Asking:
    """Texts that are asked for at the same time, each in a thread."""

    def __init__(self, services: Cluster, texts: list[str], **headers: str) -> None:
        self.replies: dict[str, Reply] = {}
        self._threads = [
            threading.Thread(target=self._ask, args=(services, text, headers)) for text in texts
        ]
        for thread in self._threads:
            thread.start()

    def _ask(self, services: Cluster, text: str, headers: dict[str, str]) -> None:
        self.replies[text] = search(services, text, **headers)

    def statuses(self) -> list[int]:
        """Of all replies, once they are there."""
        for thread in self._threads:
            thread.join()
        return [reply.status for reply in self.replies.values()]


def embedding(services: Cluster, text: str) -> Asking:
    """Ask for a text, and wait until middle has sent it to inference."""
    sent = metric(services.middle, BATCHES)
    asking = Asking(services, [text])
    wait_until(lambda: sent < metric(services.middle, BATCHES))
    return asking


def in_flight(services: Cluster) -> float:
    """What front has in hand, as it tells."""
    return metric(services.front, 'in_flight{service="front"}')


def dropped(services: Cluster, reason: str) -> float:
    """How many requests front dropped for a reason."""
    return metric(services.front, f'dropped_total{{reason="{reason}",service="front"}}')


def send(services: Cluster, text: str) -> socket.socket:
    """A query on a connection of its own, whose answer has not been read."""
    connection = socket.create_connection(("127.0.0.1", services.front.port), timeout=20)
    body = json.dumps({"text": text}).encode()
    head = "POST /v1/search HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    connection.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
    return connection


def whole_reply(connection: socket.socket) -> HTTPResponse:
    """The next reply on a connection, which may come in pieces, read to its end."""
    with HTTPResponse(connection) as reply:
        reply.begin()
        reply.read()
    return reply


def test_what_is_too_much_is_refused_at_once(services: Cluster) -> None:
    """With all places taken a query is 503 while they hang; health and metrics are answered."""
    before = dropped(services, "overloaded")
    with hanging(services.inference):
        asking = Asking(services, [f"red {number}" for number in range(LIMIT)])
        wait_until(lambda: LIMIT == in_flight(services))
        for size in (10, 100_000):
            refused = search(services, "a" * size)
            assert (503, "overloaded") == (refused.status, refused.json()["code"])
            assert int(refused.headers["Retry-After"]) > 0
            assert "application/problem+json" == refused.headers["Content-Type"]
        assert "close" == refused.headers["Connection"]  # as not all was read
        assert {"status": "alive"} == services.front.get("/healthz")
    assert [200] * LIMIT == asking.statuses()
    assert 200 == search(services, "blue").status
    wait_until(lambda: 0 == in_flight(services))
    assert 2 == dropped(services, "overloaded") - before


def test_a_refused_connection_that_can_be_kept_is_kept(services: Cluster, server: str) -> None:
    """The next request on it is answered, and the body of the refused one is not taken for it."""
    with hanging(services.inference):
        asking = Asking(services, [f"red {number}" for number in range(LIMIT)])
        wait_until(lambda: LIMIT == in_flight(services))
        with send(services, "blue") as connection:
            refused = whole_reply(connection)
            assert 503 == refused.status
            assert server == "granian" or "keep-alive" == refused.getheader("Connection")
            connection.sendall(
                b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
            )
            assert 200 == whole_reply(connection).status
    assert [200] * LIMIT == asking.statuses()


def test_what_has_no_time_left_is_not_begun(services: Cluster) -> None:
    """A query that says to have 0 ms, or 50 while inference hangs, is 503 and never embedded."""
    embedded_before, before = embedded(services.inference), dropped(services, "expired")
    late = [search(services, text, X_Deadline_Ms="0") for text in ("green", "blue")]
    with hanging(services.inference):
        # each on one of middle's two ways to inference
        first = [embedding(services, text) for text in ("red", "red red")]
        late += [search(services, text, X_Deadline_Ms="50") for text in ("green", "blue")]
    assert [[200], [200]] == [asking.statuses() for asking in first]
    assert {(503, "deadline_exceeded")} == {(one.status, one.json()["code"]) for one in late}
    assert 2 == dropped(services, "expired") - before
    assert 2 == embedded(services.inference) - embedded_before


def test_a_client_that_goes_while_it_is_answered_does_no_harm(services: Cluster) -> None:
    """It is nobody's error, and its place is free again."""
    with hanging(services.inference):
        connection = send(services, "red")
        wait_until(lambda: 0 < in_flight(services))
        connection.close()
    wait_until(lambda: 0 == in_flight(services))
    assert 200 == search(services, "green").status
    metrics = services.front.request("GET", "/metrics").data.decode()
    assert 'status="500"' not in metrics


def test_a_client_may_have_less_time(services: Cluster) -> None:
    """By X-Deadline-Ms, which middle and inference keep to; what is no number is 400."""
    given_up = 'requests_total{route="/search",service="middle",status="503"}'
    wait_until(lambda: 0 == metric(services.middle, 'in_flight{service="middle"}'))
    before = metric(services.middle, given_up)
    with hanging(services.inference):
        reply = search(services, "red", X_Deadline_Ms="200")
        assert (503, "deadline_exceeded") == (reply.status, reply.json()["code"])
        wait_until(lambda: before + 1 == metric(services.middle, given_up))
    for bad in ("soon", "-1", "1.5", "1e3", "9" * 10, ""):
        assert 400 == search(services, "red", X_Deadline_Ms=bad).status, bad
    assert 200 == search(services, "red", X_Deadline_Ms="999999999").status


def test_connections_that_never_ask_take_no_thread(services: Cluster) -> None:
    """Twice as many as there are threads, silent: a query is answered beside them at once."""
    silent = [
        socket.create_connection(("127.0.0.1", services.front.port))
        for _ in range(2 * (LIMIT + SPARE_THREADS))
    ]
    try:
        began = time.monotonic()
        assert 200 == search(services, "red").status
        assert time.monotonic() - began < 2
    finally:
        for connection in silent:
            connection.close()


def test_under_overload_there_are_answers_and_refusals_alone(
    collection: Collection, server: str
) -> None:
    """Far too many queries: each is answered, rightly, or refused; then all is well again."""
    config = with_section(collection.config, "Front", max_in_flight=8)
    config = with_section(config, "Middle", cache="off")
    with cluster(under(server, config), 1, collection.folder) as services:
        due = open_loop.draw(1500, 3, all_queries())
        address = services.front.address
        during = open_loop.send(address, due, 3, kept=len(due), path="/v1/search")
        while search(services, "red").status == 503:  # what was let in last is still under way
            assert services.front.request("GET", "/healthz").status == 200
        after = [search(services, f"a red photo {number}") for number in range(20)]

    assert {200, 503} == {one.status for one in during}
    assert {200} == {reply.status for reply in after}
    answers = {one.text: json.loads(one.body)["hits"] for one in during if one.ok}
    assert [] == wrong(collection, answers)


def wrong(collection: Collection, answers: dict[str, Any]) -> list[str]:
    """The texts whose best hit is not that of exact search."""
    texts = list(answers)[:200]
    vectors = collection.model().encode_text(texts)
    best = (vectors @ collection.vectors().T).max(axis=1)
    return [
        text
        for text, score in zip(texts, best, strict=True)
        if abs(answers[text][0]["score"] - score) > 1e-4
    ]
