"""image_url in searches: off, on with what must not be fetched, and an image that is found."""

import base64
import io
import json
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient

from common.cache_epoch import CacheEpoch
from common.config import parse
from devtools.services import Cluster, running, with_section
from front.app import create_app
from front.image_fetch import Internet
from tests.front.fake_website import elsewhere, moved, reply
from tests.front.front_client import ask, assert_problem, upload
from tests.front.pictures import encoded, noise

LOOPBACK = [
    "localhost",
    "LOCALHOST.",
    "127.0.0.1",
    "127.1",
    "127.9.9.9",
    "2130706433",
    "0x7f000001",
    "0177.0.0.1",
    "0x7f.1",
    "①②⑦.⓪.⓪.①",
    "0.0.0.0",
    "0",
    "[::1]",
    "[::]",
    "[0:0:0:0:0:0:0:1]",
    "[::ffff:127.0.0.1]",
    "[::ffff:7f00:1]",
    "[::127.0.0.1]",
    "[64:ff9b::7f00:1]",
    "[2002:7f00:1::]",
    "[fe80::1%25lo]",
]
ELSEWHERE = ["10.0.0.1", "192.168.0.1", "169.254.169.254", "100.64.0.1", "224.0.0.1", "[fd00::1]"]
URLS = {
    "no scheme": "pictures.example/a.jpg",
    "empty": "",
    "file": "file:///etc/passwd",
    "ftp": "ftp://8.8.8.8/a.jpg",
    "gopher": "gopher://8.8.8.8/",
    "data": "data:image/png;base64,YWJj",
    "upper case": "FILE:///etc/passwd",
    "no host": "http:///a.jpg",
    "user": "http://user@8.8.8.8/",
    "password": "http://:secret@8.8.8.8/",
    "two hosts": "http://8.8.8.8@127.0.0.1/",
    "backslash": "http://8.8.8.8\\@127.0.0.1/",
    "line break": "http://8.8.8.8/\r\nHost: x",
    "space": "http://8.8.8.8/a b",
    "NUL": "http://8.8.8.8/\0",
    "port of mail": "http://8.8.8.8:25/",
    "no port": "http://8.8.8.8:port/",
    "port over": "http://8.8.8.8:99999/",
    "bracket": "http://[::1/",
    "long": f"http://8.8.8.8/{'a' * 2000}",
    "leading dot": "https://.example/",
    "long label": f"https://{'a' * 64}.example/",
}


@pytest.fixture(scope="module")
def listener() -> Iterator[socket.socket]:
    """A socket on all addresses of this machine, which nobody must connect to."""
    how: dict[str, Any] = {"family": socket.AF_INET6, "dualstack_ipv6": True}
    if not socket.has_dualstack_ipv6():
        how = {}
    with socket.create_server(("", 0), **how) as one:
        one.setblocking(False)
        yield one


@pytest.fixture(scope="module")
def opened(cluster: Cluster, root: Path, listener: socket.socket) -> Iterator[Cluster]:
    """The cluster with a front that fetches, from the ports of the Internet and the listener's."""
    ports = [80, 443, listener.getsockname()[1]]
    config = with_section(cluster.config, "Front", port=0, image_url=True, image_url_ports=ports)
    with running("front/front.py", config, cwd=root) as front:
        yield Cluster(config, front, cluster.middle, cluster.inference, cluster.search)


@pytest.mark.parametrize("host", [*LOOPBACK, *ELSEWHERE])
def test_an_address_of_our_own_is_not_connected_to(
    opened: Cluster, listener: socket.socket, host: str
) -> None:
    """However loopback and other networks of ours are spelled, nobody hears from us."""
    for scheme in ("http", "https"):
        url = f"{scheme}://{host}:{listener.getsockname()[1]}/image.jpg"
        assert_problem(ask(opened, image_url=url), 400, "image_url_refused")

    with pytest.raises(BlockingIOError):
        listener.accept()
    assert 200 == ask(opened, text="red").status


@pytest.mark.parametrize("url", URLS.values(), ids=URLS)
def test_a_url_that_is_no_address_of_an_image_is_refused(opened: Cluster, url: str) -> None:
    """Another scheme, credentials, other ports, and what two parsers may read in two ways."""
    assert_problem(ask(opened, image_url=url), 400, "image_url_refused")


def test_image_url_is_refused_alike_in_every_form(opened: Cluster) -> None:
    """In the address and in a form it is what it is in JSON: one of the subjects."""
    fields = {"image_url": "http://127.0.0.1/"}
    request = opened.front.request
    for response in (
        request("GET", "/v1/search", fields=fields),
        request("POST", "/v1/search", fields=fields),
    ):
        assert_problem(response, 400, "image_url_refused")
    assert_problem(ask(opened, **fields, text="red"), 400, "bad_request")
    assert_problem(ask(opened, **fields, k=0), 400, "bad_request")
    assert_problem(ask(opened, image_url=5), 400, "bad_request")


def test_image_url_is_off_unless_it_is_opened(cluster: Cluster) -> None:
    """Without Front.image-url the refusal says that it is this; middle never knows of it."""
    response = ask(cluster, image_url="https://pictures.example/a.jpg")

    assert_problem(response, 400, "image_url_off")
    assert "Front.image-url" in response.json()["detail"]
    in_middle = cluster.middle.request("POST", "/search", json={"image_url": "http://x/"})
    assert_problem(in_middle, 400, "bad_request")


@pytest.fixture
def client(cluster: Cluster, root: Path) -> Iterator[FlaskClient]:
    """Front in this process, where loopback counts as the Internet."""
    config = with_section(cluster.config, "Front", image_url=True, image_url_ports=range(65536))
    config = with_section(config, "Middle", deadline_ms=1000)
    internet = Internet(is_allowed=lambda address: address == "127.0.0.1")
    app = create_app(parse(json.dumps(config, default=list)), root, CacheEpoch(), internet)
    with app.extensions["closing"]:
        yield app.test_client()


def test_an_image_is_searched_as_if_it_was_uploaded(cluster: Cluster, client: FlaskClient) -> None:
    """What is fetched, also after a redirect, is an image like any other; or it is none."""
    file = encoded(noise(5), "PNG")
    uploaded = upload(cluster, file, k="5").json()["hits"]

    with elsewhere() as server:
        server.answers = {
            "/noise": moved("/noise.png"),
            "/noise.png": reply(file),
            "/page": reply(b"<!doctype html>"),
            "/cut.png": reply(file[:200]),
        }
        url = f"http://127.0.0.1:{server.port}"
        answer = client.post("/v1/search", json={"image_url": f"{url}/noise", "k": 5})
        by_address = client.get(f"/v1/search?k=5&image_url={url}/noise.png")
        assert 415 == client.post("/v1/search", json={"image_url": f"{url}/page"}).status_code
        assert 422 == client.post("/v1/search", json={"image_url": f"{url}/cut.png"}).status_code

    assert ids(uploaded) == ids(answer.get_json()["hits"]) == ids(by_address.get_json()["hits"])


def test_the_deadline_begins_with_the_image(client: FlaskClient) -> None:
    """However long a client takes to send it, or a web site."""
    file = encoded(noise(6), "PNG")

    class Slow(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            if self.tell() == 0:
                time.sleep(1.5)
            return super().read(size)

    query = json.dumps({"image": base64.b64encode(file).decode()}).encode()
    for route in ("/v1/search", "/v1/segment"):
        body = query if route == "/v1/search" else query[:-1] + b', "box": [0, 0, 1, 1]}'
        sent = client.post(
            route,
            input_stream=Slow(body),
            content_length=len(body),
            content_type="application/json",
        )
        assert 200 == sent.status_code, sent.data
    with elsewhere() as server:
        server.answers, server.waits_s = {"/slow": reply(file)}, {"/slow": 1.5}
        url = f"http://127.0.0.1:{server.port}/slow"
        fetched = client.post("/v1/search", json={"image_url": url})
        assert 200 == fetched.status_code, fetched.data


def ids(hits: list[Any]) -> list[str]:
    return [hit["id"] for hit in hits]
