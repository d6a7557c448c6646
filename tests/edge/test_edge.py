"""The edge before a running front: what passes, what it refuses, and what it adds."""

import json
import socket
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from common.config import Front
from devtools.nginx import PER_ADDRESS, edge
from devtools.services import Cluster, free_ports, http, wait_until
from devtools.slow_clients import LARGE
from tests.front.fake_website import elsewhere, reply
from tests.front.pictures import encoded, noise

GOOD = {"text": "a red square", "k": 5}


def test_a_search_passes_as_it_is(address: str, behind: Cluster) -> None:
    """The answer is that of front, with the id that the client chose."""
    headers = {"X-Request-Id": "mine"}

    answer = http.request("POST", f"{address}/v1/search", json=GOOD, headers=headers)

    assert behind.front.post("/v1/search", GOOD)["hits"] == answer.json()["hits"]
    assert ("mine", "mine") == (answer.headers["X-Request-Id"], answer.json()["request_id"])
    assert 200 == http.request("GET", f"{address}/v1/search?text=red").status
    assert 200 == http.request("GET", f"{address}/").status


def test_what_is_large_passes_in_both_directions(address: str) -> None:
    """A photo that no buffer holds goes through the disk, and a script comes back whole."""
    photo = encoded(noise(size=(1500, 1000)), "BMP")

    answer = http.request("POST", f"{address}/v1/search", fields={"image": ("a", photo)})

    assert (4_500_000 < len(photo), 200) == (True, answer.status)
    script = http.request("GET", f"{address}{LARGE}")
    assert len(script.data) == int(script.headers["Content-Length"]) > 1_000_000


def test_what_front_refuses_is_told_by_front(address: str) -> None:
    """An error's reply is passed on."""
    answer = http.request("POST", f"{address}/v1/search", json={"k": 0})

    assert (400, "bad_request") == (answer.status, answer.json()["code"])
    assert "application/problem+json" == answer.headers["Content-Type"]


def test_json_is_compressed_for_who_can_read_it(address: str) -> None:
    """An embedding in decimals is half the size."""
    headers = {"Accept-Encoding": "gzip"}
    inputs = {"texts": ["red"] * 20}

    answer = http.request("POST", f"{address}/v1/embed", json=inputs, headers=headers)

    assert "gzip" == answer.headers["Content-Encoding"]
    assert 20 == len(answer.json()["embeddings"])


REFUSED: dict[str, tuple[int, str, dict[str, Any]]] = {
    "large": (413, "/v1/search", {"body": bytes(Front().max_body_bytes + 1)}),
    "long line": (414, f"/{'a' * 9000}", {}),
    "long header": (431, "/", {"headers": {"X-Long": "a" * 9000}}),
    "metrics": (404, "/metrics", {}),
}


@pytest.mark.parametrize(("status", "path", "how"), REFUSED.values(), ids=REFUSED)
def test_the_edge_refuses_by_itself(
    address: str, status: int, path: str, how: dict[str, Any]
) -> None:
    """With front's statuses; front gets none of it."""
    answer = http.request("POST", f"{address}{path}", **how)

    assert status == answer.status
    if status != 414:  # which nginx tells in its own words
        problem = json.loads(answer.data)
        assert status == problem["status"]
        assert {"code", "detail", "title", "request_id"} <= set(problem)


@pytest.mark.usefixtures("nginx")
def test_a_front_that_is_down_is_told_as_unavailable(tmp_path: Path) -> None:
    """503 with Retry-After, as by front itself."""
    with edge(free_ports(1)[0], tmp_path) as port:
        headers = {"X-Request-Id": 'a","b":"c'}
        answer = http.request("GET", f"http://127.0.0.1:{port}/v1/info", headers=headers)

    assert (503, "unavailable") == (answer.status, answer.json()["code"])
    assert "1" == answer.headers["Retry-After"]
    assert answer.headers["X-Request-Id"] == answer.json()["request_id"] != headers["X-Request-Id"]


@pytest.mark.usefixtures("nginx")
def test_one_address_does_not_get_everything(tmp_path: Path) -> None:
    """While as many requests as it may have are under way, the next is told so at once."""
    with ExitStack() as stack:
        silent = stack.enter_context(elsewhere())
        silent.drips["/slow"] = b""
        port = stack.enter_context(edge(silent.port, tmp_path))

        def ask(path: str, source: str) -> socket.socket:
            one = socket.create_connection(("127.0.0.1", port), 20, (source, 0))
            one.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
            return stack.enter_context(one)

        for _ in range(PER_ADDRESS):
            ask("/slow", "127.0.0.1")
        wait_until(lambda: len(silent.heads) == PER_ADDRESS)
        silent.answers["/"] = reply(b"fine")
        assert b"429" in ask("/", "127.0.0.1").recv(100).split(b"\r\n")[0]
        assert b"200" in ask("/", "127.0.0.2").recv(100).split(b"\r\n")[0]
