"""Handshakes that do not come to an end."""

import asyncio
import socket
import ssl
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from common import config, tls
from common.errors import ConfigError, DeadlineExceeded, Unavailable
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


@pytest.mark.parametrize(
    ("password", "why"),
    [
        (None, "the key is encrypted: set tls-key-password-file"),
        ("wrong", "the password in tls-key-password-file is wrong"),
        ("", "the password in tls-key-password-file is wrong"),
    ],
)
@pytest.mark.parametrize(
    ("script", "section"), [("front/front.py", "Front"), ("middle/middle.py", "Inside")]
)
def test_an_encrypted_key_that_stays_closed_stops_the_start(
    tmp_path: Path, script: str, section: str, password: str | None, why: str
) -> None:
    """Kind H: one line says what to set, or what is wrong; nobody is asked on the terminal."""
    keys = Authority(tmp_path).encrypted("ours", "right")
    if password is not None:
        (tmp_path / "password").write_text(password)
        keys["tls-key-password-file"] = str(tmp_path / "password")
    done = run_command(script, {section: keys}, cwd=tmp_path)

    assert 2 == done.returncode
    assert f"error: the files of {section}.tls-cert, tls-key" in done.stderr
    assert why in done.stderr
    assert "Traceback" not in done.stderr


def test_a_password_without_a_certificate_is_told(tmp_path: Path) -> None:
    """As a key without one is."""
    with pytest.raises(ConfigError, match=r"Front\.tls-key-password-file is nothing without"):
        tls.tls_of("Front", tmp_path, None, None, None, "password")


def test_services_talk_with_a_key_under_a_password(tmp_path: Path) -> None:
    """The key of `Inside` is opened on both sides, and again when a new password comes with it."""
    authority = Authority(tmp_path)
    for password in ("first", "second"):
        files = authority.encrypted("ours", password)
        (tmp_path / "password").write_text(password)
        inside = tls.tls_of(
            "Inside", tmp_path, files["tls-cert"], files["tls-key"], "ca.pem", "password"
        )
        assert inside
        ours, theirs = socket.socketpair()
        with ThreadPoolExecutor(1) as other:
            served = other.submit(tls.server_context(inside).wrap_socket, theirs, server_side=True)
            context = tls.client_context(inside)
            with context.wrap_socket(ours, server_hostname="localhost") as client:
                with served.result() as server:
                    server.sendall(b"ok")
                    assert b"ok" == client.recv(2)


def test_a_client_that_never_shakes_hands_is_given_up(
    inside: InternalAuth, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It does not keep a thread of the server."""
    monkeypatch.setattr(tls, "HANDSHAKE_S", 0.1)
    assert inside.tls
    ours, theirs = socket.socketpair()
    with theirs, ours, pytest.raises(ssl.SSLError, match="took too long"):
        tls.server_context(inside.tls).wrap_socket(ours, server_side=True)


def test_a_certificate_is_renewed_before_its_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While the two do not fit each other, the former ones stay in use, on both sides."""
    monkeypatch.setattr(tls, "AGAIN_S", 0.0)
    (tmp_path / "password").write_text("password")
    authority = Authority(tmp_path)
    files = authority.encrypted("ours", "password")
    cert, key = files["tls-cert"], Path(files["tls-key"])
    inside = tls.tls_of("Inside", tmp_path, cert, str(key), "ca.pem", "password")
    assert inside
    former = tls.server_context(inside), tls.client_context(inside)

    former_key = key.read_bytes()
    authority.encrypted("ours", "password")
    new_key = key.read_bytes()
    key.write_bytes(former_key)
    assert former == (tls.server_context(inside), tls.client_context(inside))
    key.write_bytes(new_key)
    assert {*former}.isdisjoint({tls.server_context(inside), tls.client_context(inside)})
