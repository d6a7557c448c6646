"""Bodies that do not end where they say (kind J)."""

import pytest

from devtools.services import Cluster
from tests.front.front_client import raw
from tests.front.test_bad_http import _good_after_bad as _good_after_bad
from tests.front.test_bad_http import cluster as cluster
from tests.front.test_bad_http import server as server


@pytest.mark.parametrize("path", ["/", "/v1/search?text=red", "/v1/info", "/none"])
@pytest.mark.parametrize(
    ("field", "body"),
    [("Content-Length: 100", b"abc"), ("Transfer-Encoding: chunked", b"3\r\nab")],
    ids=["length", "chunk"],
)
def test_a_body_that_is_cut_is_refused(
    cluster: Cluster, server: str, path: str, field: str, body: bytes
) -> None:
    """400, also where nobody would have read it."""
    if server == "granian":
        pytest.skip("granian closes the connection")
    head = f"GET {path} HTTP/1.1\r\nHost: localhost\r\n{field}\r\n\r\n"

    assert 400 == raw(cluster, head.encode() + body, ends=True)[0]


GOOD = b'f\r\n{"text": "red"}\r\n'
CHUNKS = {
    "negative size": b"-1\r\nabc\r\n0\r\n\r\n",
    "size in C": b'0xf\r\n{"text": "red"}\r\n0\r\n\r\n',
    "no size": b"zz\r\n\r\n",
    "too small a size": b'2\r\n{"text": "red"}\r\n0\r\n\r\n',
    "empty size": b'\r\n{"text": "red"}\r\n0\r\n\r\n',
    "long extension": b"f;" + b"a" * 2**16 + GOOD[1:] + b"0\r\n\r\n",
    "bad trailer": GOOD + b"0\r\nno trailer\r\n\r\n",
}
NOT_SEEN = {
    "waitress": {"empty size", "long extension", "bad trailer"},
    "granian": {"bad trailer"},
    "aiohttp": {"long extension"},
}
"""waitress waits for more after an empty line, and like granian reads what comes after chunks as
nothing at all: no request of ours has chunks, and to its port come requests of ours alone. aiohttp,
under the gateway, passes over extensions of any length, and keeps nothing of them."""
CHUNKED = {
    "front": "/v1/search",
    "middle": "/search",
    "inference": "/predictions/clip",
    "search": "/search",
}


@pytest.mark.parametrize("name", CHUNKED)
@pytest.mark.parametrize("case", CHUNKS)
def test_what_is_no_chunk_is_refused(cluster: Cluster, server: str, name: str, case: str) -> None:
    """400, and the connection closed, as nobody knows where the next request begins."""
    behind = "waitress" if name in ("inference", "search") and server == "auto" else server
    if case in NOT_SEEN.get(behind, set()):
        pytest.skip(f"{behind} does not see it")
    head = f"POST {CHUNKED[name]} HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n"
    kind = "Content-Type: application/json\r\n\r\n"

    assert 400 == raw(cluster, f"{head}{kind}".encode() + CHUNKS[case], name)[0]
