"""The public side over TLS."""

import socket
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import urllib3

from common.server.serve import SPARE_THREADS
from devtools.certificates import Authority
from devtools.services import Cluster, Service, run_command, running, with_section
from tests.servers import SERVERS, under


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """Whose certificates the clients believe."""
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def config(cluster: Cluster, authority: Authority) -> dict[str, Any]:
    """Of a front with a certificate and two workers."""
    front = {"port": 0, "workers": 2, "tls_cert": str(authority.issue("front"))}
    return with_section(cluster.config, "Front", **front)


@pytest.fixture(scope="module", params=SERVERS)
def encrypted(
    config: dict[str, Any], root: Path, request: pytest.FixtureRequest
) -> Iterator[Service]:
    """That front."""
    with running("front/front.py", under(request.param, config), cwd=root) as front:
        yield front


def test_front_answers_over_tls(encrypted: Service, authority: Authority) -> None:
    """Queries and large files, on kept connections; and browsers are told to stay with TLS."""
    with authority.client() as client:
        for _ in range(20):
            reply = client.request("POST", url(encrypted, "/v1/search"), json={"text": "red"})
            assert 200 == reply.status, reply.data
        hit = reply.json()["hits"][0]
        assert 200 == client.request("GET", url(encrypted, hit["thumbnail"])).status
        assert "max-age=31536000" == reply.headers["Strict-Transport-Security"]
        big = client.request("POST", url(encrypted, "/v1/search"), json={"text": "x" * 250_000})
        assert 400 == big.status


def url(front: Service, path: str) -> str:
    return f"https://{front.address}{path}"


def test_whoever_checks_certificates_sees_a_wrong_one(encrypted: Service, tmp_path: Path) -> None:
    """To a client of another authority ours is nobody."""
    with Authority(tmp_path).client() as client:
        with pytest.raises(urllib3.exceptions.SSLError):
            client.request("GET", url(encrypted, "/healthz"))


def test_plain_http_gets_nothing(encrypted: Service) -> None:
    """No answer in the clear."""
    with socket.create_connection(("127.0.0.1", encrypted.port), timeout=10) as plain:
        plain.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
        with suppress(ConnectionResetError):
            assert b"HTTP" not in plain.recv(65536)


def test_a_renewed_certificate_is_taken_up(
    config: dict[str, Any], authority: Authority, root: Path, tmp_path: Path
) -> None:
    """The file is read again when it changes: nothing is started anew."""
    file = tmp_path / "front.pem"
    file.write_bytes(authority.issue("old", expired=True).read_bytes())
    with running(
        "front/front.py", with_section(config, "Front", tls_cert=str(file)), cwd=root
    ) as front:
        with authority.client() as client:
            with pytest.raises(urllib3.exceptions.SSLError, match="expired"):
                client.request("GET", url(front, "/healthz"))
            renewed = authority.issue("new").read_bytes()
            file.with_suffix(".new").write_bytes(renewed)
            file.with_suffix(".new").replace(file)
            assert 200 == client.request("GET", url(front, "/healthz")).status


def test_a_key_in_a_file_of_its_own(
    config: dict[str, Any], authority: Authority, root: Path, tmp_path: Path
) -> None:
    """tls-cert and tls-key may be two files; each must be there, and they must fit."""
    both = authority.issue("split").read_text()
    at = both.index("-----BEGIN CERTIFICATE")
    (tmp_path / "key.pem").write_text(both[:at])
    (tmp_path / "cert.pem").write_text(both[at:])
    files = {"tls_cert": str(tmp_path / "cert.pem"), "tls_key": str(tmp_path / "key.pem")}
    with running("front/front.py", with_section(config, "Front", **files), cwd=root) as front:
        with authority.client() as client:
            assert 200 == client.request("GET", url(front, "/healthz")).status
    for wrong in ({"tls_key": str(authority.issue("other"))}, {"tls_key": "none"}):
        bad = with_section(config, "Front", **{**files, **wrong})
        done = run_command("front/front.py", bad, cwd=root)
        assert 2 == done.returncode
        assert done.stderr.startswith("error: the files of Front.tls-cert")


def test_an_encrypted_key_is_opened_by_the_password_in_a_file(
    config: dict[str, Any], authority: Authority, root: Path, tmp_path: Path
) -> None:
    """The file may end in a line break. granian, which would crash on such a key, refuses it."""
    (tmp_path / "password").write_text("s\u00e9 cret\n", "utf-8")
    files = authority.encrypted("locked", "s\u00e9 cret")
    files["tls-key-password-file"] = str(tmp_path / "password")
    locked = with_section(config, "Front", **files)
    with running("front/front.py", locked, cwd=root) as front, authority.client() as client:
        assert 200 == client.request("GET", url(front, "/healthz")).status
    done = run_command("front/front.py", under("granian", locked), cwd=root)
    assert 2 == done.returncode
    assert "granian takes no tls-key-password-file" in done.stderr


def test_half_a_handshake_holds_no_thread_for_ever(
    config: dict[str, Any], authority: Authority, root: Path
) -> None:
    """As many clients as there are threads begin and go silent: the next is answered."""
    few = with_section(config, "Front", max_in_flight=1, workers=1)
    with running("front/front.py", few, cwd=root) as front, authority.client() as client:
        threads = 1 + SPARE_THREADS
        silent = [socket.create_connection(("127.0.0.1", front.port)) for _ in range(threads)]
        for one in silent:
            one.sendall(b"\x16")  # how a handshake begins
        assert 200 == client.request("GET", url(front, "/healthz"), timeout=30).status
        for one in silent:
            one.close()
