"""Bodies that do not end where they say, to the gateway's HTTP port (kind J)."""

import pytest

from devtools.gateways import RunningGateway
from tests.front.front_client import raw_reply
from tests.front.test_bad_framing import CHUNKS, NOT_SEEN


@pytest.mark.parametrize("path", ["/post", "/healthz"])
@pytest.mark.parametrize("case", sorted(CHUNKS.keys() - NOT_SEEN["aiohttp"]))
def test_what_is_no_chunk_is_refused(served: RunningGateway, case: str, path: str) -> None:
    """400, and the connection closed; the next good request is answered."""
    head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"

    assert 400 == raw_reply(served.service.port, head.encode() + CHUNKS[case])[0]
    good = {"data": [{"text": "a cat"}], "execEndpoint": "/encode"}
    assert 200 == served.service.request("POST", "/post", json=good).status
