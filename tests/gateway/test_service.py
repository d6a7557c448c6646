"""The gateway as a service: TLS, keys, its routes, its start and its end."""

import asyncio
import base64
import gzip
import time
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import urllib3

from devtools.gateways import RunningGateway, gateway
from devtools.services import Cluster, Service, run_command, wait_until, with_section
from tests.front.pictures import encoded, noise
from tests.gateway.clients import ENVIRONMENT_OF, start

ENCODE = """
import sys
from clip_client import Client
for key in sys.argv[2:] or [""]:
    client = Client(sys.argv[1], credential={"Authorization": key} if key else {})
    try:
        print("SHAPE", client.encode(["a cat", "a dog"]).shape)
    except BaseException as error:
        print("FAILED", type(error).__name__, str(error).replace(chr(10), " "))
"""
"""A line for each key: "" stands for none."""
SHAPE = "SHAPE (2, "


def post(service: Service, **body: Any) -> urllib3.BaseHTTPResponse:
    return service.request("POST", "/post", json=body)


def test_a_request_of_curl(served: RunningGateway) -> None:
    """The one that CLIP-as-service's page shows."""
    data = [{"text": "a cat"}, {"uri": "data:text/plain,x"}]
    reply = post(served.service, data=data[:1], execEndpoint="/encode")

    assert reply.status == 200
    assert len(reply.json()["data"][0]["embedding"]) > 100
    failed = post(served.service, data=data, execEndpoint="/encode").json()["header"]["status"]
    assert failed["code"] == 1
    assert failed["description"].startswith("document 1 (): ")


def test_bad_requests_of_http(served: RunningGateway) -> None:
    """Each with a status and what is wrong; the next good one is answered."""
    service = served.service
    broken = service.request("POST", "/post", body=b"{", headers={"Content-Type": "x/y"})
    unknown = service.request("POST", "/v1/embed", json={})
    wrong = service.request("PUT", "/post", json={})
    endpoint = post(service, data=[], execEndpoint="/delete").json()["header"]["status"]

    assert (broken.status, unknown.status, wrong.status) == (400, 404, 405)
    assert "malformed JSON" in broken.json()["header"]["status"]["description"]
    assert unknown.json()["code"] == "not_found"
    assert "/encode" in endpoint["description"]
    assert post(service, data=[{"text": "a"}], execEndpoint="/encode").status == 200


def test_a_body_over_the_limit_is_refused_unread(services: Cluster, root: Path) -> None:
    """With or without a length."""
    with gateway(services.config, root, max_message_bytes=10_000) as served:
        for body in (b"a" * 20_000, iter([b"a" * 20_000])):
            reply = served.service.request("POST", "/post", body=body)
            assert reply.status == 413
            assert "10000 bytes" in reply.json()["header"]["status"]["description"]


@pytest.mark.parametrize(
    "encodings", [["gzip"], ["GZIP"], ["deflate"], ["identity", "gzip"], ["identity, gzip"]]
)
def test_a_compressed_body_is_refused_unread(served: RunningGateway, encodings: list[str]) -> None:
    """It would take more room than its length tells; a body that is as it is, is read."""
    headers = urllib3.HTTPHeaderDict([("Content-Encoding", encoding) for encoding in encodings])
    body = gzip.compress(b'{"data": [{"text": "a"}], "execEndpoint": "/encode"}')
    reply = served.service.request("POST", "/post", body=body, headers=headers)
    assert reply.status == 415
    assert "Content-Encoding" in reply.json()["header"]["status"]["description"]

    plain = gzip.decompress(body)
    headers = urllib3.HTTPHeaderDict({"Content-Encoding": "identity"})
    assert served.service.request("POST", "/post", body=plain, headers=headers).status == 200


@pytest.mark.parametrize("path", ["/", "/dry_run"])
def test_messages_of_a_websocket_are_not_compressed(served: RunningGateway, path: str) -> None:
    """Whoever offers to is told so by the handshake, and sends them as they are."""

    async def agreed() -> int:
        url = f"ws://{served.service.address}{path}"
        async with aiohttp.ClientSession() as session:
            async with session.ws_connect(url, compress=15) as socket:
                return socket.compress

    assert not asyncio.run(agreed())


def test_without_a_log_nothing_is_indexed(services: Cluster, root: Path) -> None:
    """The answer says so, and what to do; nothing is kept."""
    data = [{"blob": base64.b64encode(encoded(noise(1), "PNG")).decode()}]
    before = set((root / "data/uploads").glob("*"))
    config = with_section(services.config, "Live", log=None)
    with gateway(config, root) as served:
        status = post(served.service, data=data, execEndpoint="/index").json()["header"]["status"]
    assert status["exception"]["name"] == "no_log"
    assert "Live.log" in status["description"]
    assert "prepare/prepare.py" in status["description"]
    assert before == set((root / "data/uploads").glob("*"))


def test_what_is_indexed_is_an_image_of_the_public_api(
    served: RunningGateway, services: Cluster
) -> None:
    """Found, shown and deleted there, with its file."""
    image = encoded(noise(2), "PNG")
    blob = base64.b64encode(image).decode()
    data = [{"blob": blob, "tags": {"name": "new"}}]
    reply = post(served.service, data=data, execEndpoint="/index").json()
    assert reply["header"]["status"].get("code", 0) == 0

    def new_ids() -> list[str]:
        hits = services.front.post("/v1/search", {"image": blob, "k": 1})["hits"]
        return [hit["id"] for hit in hits if hit["metadata"] == {"name": "new"}]

    wait_until(lambda: len(new_ids()) == 1)
    address = f"/v1/images/{new_ids()[0]}"
    assert services.front.request("GET", address).data == image
    assert services.front.request("DELETE", address).status == 200
    wait_until(lambda: not new_ids())
    assert services.front.request("GET", address).status == 404


def test_what_every_service_tells(served: RunningGateway) -> None:
    """Health, readiness, metrics by protocol and endpoint."""
    post(served.service, data=[{"text": "a"}], execEndpoint="/encode")

    assert served.service.get("/healthz") == {"status": "alive"}
    assert served.service.get("/ready") == {"status": "ready"}
    assert served.service.get("/dry_run") == {"code": 0}
    metrics = served.service.request("GET", "/metrics").data.decode()
    assert (
        'clip_search_requests_total{route="http /encode",service="gateway",status="200"}' in metrics
    )
    assert 'clip_search_in_flight{service="gateway"} 0.0' in metrics


def test_it_is_not_ready_without_middle(services: Cluster, root: Path) -> None:
    """And says so; it is alive."""
    config = with_section(services.config, "Middle", port=1)
    with gateway(config, root) as served:
        reply = served.service.request("GET", "/ready")
        assert (reply.status, reply.json()["code"]) == (503, "not_ready")
        assert served.service.get("/healthz")


@pytest.mark.parametrize(
    ("headers", "status"),
    [({"Origin": "https://evil.example"}, 403), ({"Host": "evil.example"}, 421)],
)
@pytest.mark.parametrize(("method", "path"), [("POST", "/post"), ("GET", "/"), ("GET", "/metrics")])
def test_pages_of_web_sites_are_refused(
    served: RunningGateway, method: str, path: str, headers: dict[str, str], status: int
) -> None:
    """Kind J: also by WebSocket, which browsers open to any address, and by a rebound name."""
    upgrade = {
        "Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
    } if path == "/" else {}  # fmt: skip
    reply = served.service.request(method, path, headers={**upgrade, **headers})

    assert reply.status == status


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"address": "0.0.0.0"}, "Gateway.open"),
        ({"protocols": []}, "Gateway.protocols"),
        ({"protocols": ["soap"]}, "soap"),
        ({"tls-key": "key.pem"}, "tls-cert"),
        ({"tls-cert": "missing.pem"}, "Gateway.tls-cert"),
        (None, '"Gateway": {}'),
    ],
)
def test_a_wrong_section_stops_the_start(
    services: Cluster, root: Path, keys: dict[str, Any] | None, message: str
) -> None:
    """And names the key."""
    config = services.config if keys is None else {**services.config, "Gateway": keys}
    done = run_command("gateway/gateway.py", config, cwd=root)

    assert done.returncode == 2
    assert message in done.stderr.splitlines()[-1]


@pytest.mark.parametrize("key", ["port", "http-port"])
def test_a_port_in_use_stops_the_start(
    served: RunningGateway, services: Cluster, root: Path, key: str
) -> None:
    """And is named."""
    taken = served.service.address if key == "http-port" else served.grpc
    section = {"port": 0, "http-port": 0, key: int(taken.partition(":")[2])}
    done = run_command("gateway/gateway.py", {**services.config, "Gateway": section}, cwd=root)

    assert done.returncode == 2
    assert taken in done.stderr


@pytest.mark.parametrize("scheme", ENVIRONMENT_OF)
def test_sigterm_loses_nothing_that_is_under_way(
    services: Cluster, root: Path, scheme: str
) -> None:
    """A client in the middle of its input gets the rest, or an error: never silence."""
    with gateway(services.config, root) as served:
        url = served.url(scheme)
        client = start(ENVIRONMENT_OF[scheme], "crowd", url, "50000", "1500", "8")
        count = f'requests_total{{route="{scheme.replace("ws", "websocket")} /encode"'

        def has_begun() -> bool:
            return count in served.service.request("GET", "/metrics").data.decode()

        wait_until(has_begun)
        since = time.monotonic()
        served.service.terminate()
        output, errors = client.communicate(timeout=60)
        served.service.process.wait(30)
        assert time.monotonic() - since < 30
    assert "EQUAL 1500" in output or "Connection" in errors, (output, errors[-500:])
