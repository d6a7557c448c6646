"""Asking front in each form, and what every problem that it answers with must be."""

import base64
import json
import re
import socket
from typing import Any

import urllib3

from devtools.services import Cluster, Service
from front.openapi.errors import ERRORS

Reply = urllib3.BaseHTTPResponse
JSON = "application/json"

LEAK = re.compile(
    r"Traceback|\.py\b|/(tmp|work|usr|home|root|etc)/|127\.0\.0\.1|localhost|:\d{4,5}\b|codec"
    r"|msgspec|werkzeug|flask|numpy|hnswlib|onnx|urllib3|gunicorn|\bPIL\b|[a-z](Error|Exception)\b"
)
"""How we are built: nobody's business."""

OF_HTTP = ("not_found", "method_not_allowed")
"""Codes of what is no operation at all; the description has those of operations."""


def post(cluster: Cluster, body: bytes, path: str = "/v1/search", kind: str = JSON) -> Reply:
    """The reply to a body sent as it is."""
    return cluster.front.request("POST", path, body=body, headers={"Content-Type": kind})


def ask(cluster: Cluster, **query: Any) -> Reply:
    """The reply to a query in JSON; bytes are sent in base64."""
    return post(cluster, json.dumps(query, default=in_base64).encode())


def upload(cluster: Cluster, file: bytes, name: str = "image", **fields: str) -> Reply:
    """The reply to a form with an image file."""
    return cluster.front.request("POST", "/v1/search", fields={"image": (name, file), **fields})


def embed(cluster: Cluster, **inputs: list[Any]) -> Any:
    """The answer of /v1/embed, which must be 200."""
    message = json.dumps(inputs, default=in_base64).encode()
    response = post(cluster, message, "/v1/embed")
    assert response.status == 200, response.data
    return response.json()


def in_base64(data: bytes) -> str:
    """Bytes as JSON holds them."""
    return base64.b64encode(data).decode()


def assert_problem(response: Reply, status: int, code: str) -> None:
    """A problem as RFC 9457 has it, with our members, that tells nothing about us."""
    assert status == response.status, response.data
    assert response.headers["Content-Type"] == "application/problem+json"
    problem = response.json()
    assert (status, code) == (problem["status"], problem["code"])
    assert problem["title"]
    assert problem["detail"]
    assert code in OF_HTTP or status == ERRORS[code].status
    assert response.headers["X-Request-Id"] == problem["request_id"]
    assert not LEAK.search(f"{problem['title']} {problem['detail']}")


def raw(
    cluster: Cluster, request: bytes, name: str = "front", *, ends: bool = False
) -> tuple[int, bytes]:
    """As `raw_reply`, of a service of a cluster; of search the first server."""
    found = getattr(cluster, name)
    service: Service = found[0] if isinstance(found, list) else found
    return raw_reply(service.port, request, ends=ends)


def raw_reply(port: int, request: bytes, *, ends: bool = False) -> tuple[int, bytes]:
    """Status and body of the reply to bytes that no HTTP client sends; it must then hang up.

    With `ends`, nothing more can come from this side.
    """
    with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
        connection.sendall(request)
        if ends:
            connection.shutdown(socket.SHUT_WR)
        reply = b""
        while data := connection.recv(65536):
            reply += data
    head, _, body = reply.partition(b"\r\n\r\n")
    return int(head.split()[1]), body
