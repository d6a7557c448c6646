"""Handshakes that do not come to an end."""

import asyncio
import socket
import ssl
from pathlib import Path

import pytest

from common import config, tls
from common.errors import DeadlineExceeded, Unavailable
from common.http_client import HttpClient, Request
from common.internal_auth import InternalAuth
from common.upstream import Upstream
from devtools.certificates import Authority
from devtools.services import run_command, with_section
from tests.common.misbehaving import answer, misbehaving


@pytest.fixture
def inside(tmp_path: Path) -> InternalAuth:
    """A service with certificates."""
    authority = Authority(tmp_path)
    files = config.Inside(tls_cert=str(authority.issue("ours")), tls_ca=str(authority.file))
    return InternalAuth(files, tmp_path)


def ask(address: str, inside: InternalAuth, within_s: float) -> None:
    """Ask a server over TLS."""

    async def run() -> None:
        http = HttpClient(inside)
        service = Upstream("test", [address], http)
        deadline = asyncio.get_running_loop().time() + within_s
        try:
            await service.ask(Request("GET", "/"), deadline, lambda reply: reply)
        finally:
            await service.close()
            await http.close()

    asyncio.run(run())


def test_a_server_that_never_shakes_hands_ends_at_the_deadline(inside: InternalAuth) -> None:
    """Connecting takes no longer than the answer may, nor than a connection ever does."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        with pytest.raises(DeadlineExceeded):
            ask(address, inside, 0.3)
        with pytest.raises(Unavailable) as error:
            ask(address, inside, 30)
    assert not isinstance(error.value, DeadlineExceeded)


def test_a_server_without_tls_is_unavailable(inside: InternalAuth) -> None:
    """What is not TLS is no answer."""
    with misbehaving(answer(b"HTTP/1.1 400 Bad Request\r\n\r\n")) as server:
        with pytest.raises(Unavailable) as error:
            ask(server.address, inside, 5)
    assert not isinstance(error.value, DeadlineExceeded)


def test_what_cannot_be_served_over_tls_ends_in_one_line(inside: InternalAuth) -> None:
    """Models are loaded after the fork there; a wrong name still stops the start, and says why."""
    assert inside.tls
    config = {"Inside": {"tls-cert": str(inside.tls.cert)}, "Inference": {"clip": "startr"}}
    done = run_command("inference/inference.py", with_section(config, "Inference", port=0))

    assert 0 != done.returncode
    assert "error: no model 'startr'" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_client_that_never_shakes_hands_is_given_up(
    inside: InternalAuth, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It does not keep a thread of the server."""
    monkeypatch.setattr(tls, "HANDSHAKE_S", 0.1)
    assert inside.tls
    ours, theirs = socket.socketpair()
    with theirs, ours, pytest.raises(ssl.SSLError, match="took too long"):
        tls.server_context(inside.tls).wrap_socket(ours, server_side=True)
