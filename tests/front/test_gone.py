"""Clients that go away in the middle of a request or of its reply."""

import re
import socket
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest

from common.server.serve import SPARE_THREADS
from devtools.services import Cluster, Service, hanging, metric, running, wait_until, with_section
from tests.front.front_client import ask
from tests.servers import SERVERS, under

PLACES = 100
AGAIN = PLACES + SPARE_THREADS
"""More often than there are threads: one that was lost would be missed."""
LARGE = b"GET /docs/swagger/js/swagger-ui-bundle.js HTTP/1.1\r\nHost: localhost\r\n\r\n"
HEAD = b"POST /v1/search HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
QUERY = b'{"text": "red"}'
MOMENTS = {
    "before a byte": b"",
    "in the head": HEAD,
    "before the body": HEAD + b"Content-Length: 15\r\n\r\n",
    "in the body": HEAD + b"Content-Length: 15\r\n\r\n" + QUERY[:5],
    "in a chunk": HEAD + b"Transfer-Encoding: chunked\r\n\r\nf\r\n" + QUERY[:5],
    "before the answer": HEAD + b"Content-Length: 15\r\n\r\n" + QUERY,
    "in the answer": LARGE,
}


@pytest.fixture(scope="module", params=SERVERS)
def front(cluster: Cluster, root: Path, request: pytest.FixtureRequest) -> Iterator[Service]:
    """A front of few places; when it ends it must have nothing left to wait for."""
    config = with_section(cluster.config, "Front", port=0, max_in_flight=PLACES)
    config = under(request.param, config)
    with running("front/front.py", config, cwd=root) as service:
        yield service


def leave(front: Service, request: bytes, *, abruptly: bool) -> None:
    """Send the beginning of a request, read at most a little, and go."""
    with socket.create_connection(("127.0.0.1", front.port)) as connection:
        if abruptly:  # a reset in place of an orderly end
            how = struct.pack("ii", 1, 0)
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, how)
        connection.sendall(request)
        if request == LARGE:
            connection.recv(100)


def failures(front: Service) -> list[str]:
    """The requests that were answered with 5xx, as /metrics counts them."""
    text = front.request("GET", "/metrics").data.decode()
    return re.findall(r'requests_total\{.*status="5\d\d"\} .*', text)


@pytest.mark.parametrize("abruptly", [False, True], ids=["closed", "reset"])
@pytest.mark.parametrize("request_", MOMENTS.values(), ids=MOMENTS)
def test_a_client_that_goes_is_no_error_of_ours(
    front: Service, request_: bytes, abruptly: bool
) -> None:
    """No 5xx is counted, no traceback logged, and each place is free again."""
    for _ in range(AGAIN):
        wait_until(lambda: metric(front, 'in_flight{service="front"}') < PLACES)
        leave(front, request_, abruptly=abruptly)

    assert 200 == front.request("POST", "/v1/search", json={"text": "red"}).status
    assert [] == failures(front)
    assert not any("Traceback" in line for line in front.output)


def test_clients_that_do_not_wait_leave_nothing_behind(cluster: Cluster, front: Service) -> None:
    """While the servers behind hang, all who asked go; once they answer again all is as before."""
    with hanging(cluster.inference):
        for number in range(PLACES):
            query = b'{"text": "a photo of %d"}' % number
            leave(front, HEAD + b"Content-Length: %d\r\n\r\n" % len(query) + query, abruptly=True)

    wait_until(lambda: 200 == ask(cluster, text="a photo of red").status)
    assert 200 == front.request("POST", "/v1/search", json={"text": "blue"}).status
