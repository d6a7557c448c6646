"""Who may talk to the services inside: by a shared token, by certificates, by both."""

import secrets
import socket
import ssl
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import urllib3

from devtools.certificates import Authority
from devtools.collection import Collection
from devtools.services import (
    Cluster,
    Service,
    cluster,
    run_command,
    running,
    wait_until,
    with_section,
)
from tests.servers import SERVERS, under

PATHS = {
    "middle": [("POST", "/search"), ("DELETE", "/cache"), ("GET", "/info"), ("GET", "/metrics")],
    "inference": [("POST", "/predictions/clip"), ("GET", "/ping"), ("GET", "/metrics")],
    "search": [("POST", "/search"), ("POST", "/lookup"), ("GET", "/info"), ("GET", "/nothing")],
}


@pytest.fixture(scope="module")
def collection(tmp_path_factory: pytest.TempPathFactory) -> Collection:
    """A few images in two shards."""
    return Collection(tmp_path_factory.mktemp("inside"), images=12, shards=2)


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """Whose certificates count."""
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def token(collection: Collection) -> str:
    """A token in a file of the collection's folder."""
    token = secrets.token_urlsafe()
    (collection.folder / "inside.token").write_text(f"{token}\n")
    return token


@pytest.fixture(scope="module", params=SERVERS)
def guarded(
    collection: Collection, authority: Authority, token: str, request: pytest.FixtureRequest
) -> Iterator[Cluster]:
    """All services, with certificates and a token."""
    assert token
    inside = authority.inside(authority.issue("ours"), **{"token-file": "inside.token"})
    config = under(request.param, {**collection.config, "Inside": inside})
    with cluster(config, 2, collection.folder) as services:
        yield services


def inner(services: Cluster) -> dict[str, Service]:
    servers = (services.middle, services.inference, services.search[0])
    return dict(zip(PATHS, servers, strict=True))


def answer(services: Cluster, collection: Collection) -> None:
    """Front answers, by image, through all the others."""
    name = collection.paths()[3]
    image = (collection.folder / name).read_bytes()
    reply = services.front.request("POST", "/v1/search", fields={"image": ("q", image)})
    assert 200 == reply.status, reply.data
    hit = reply.json()["hits"][0]
    assert (name, False) == (hit["path"], reply.json()["coverage"]["degraded"])
    assert 200 == services.front.request("GET", f"/v1/images/{hit['id']}/thumbnail").status
    assert 200 == services.front.request("GET", "/ready").status


def refusal(services: Cluster, collection: Collection, **inside: Any) -> tuple[int, str]:
    """What a middle with another section Inside answers, asked by a front that it believes."""
    config = with_section(services.config, "Middle", port=0, deadline_ms=5000)
    config = {**config, "Inside": {**config["Inside"], **inside}}
    with running("middle/middle.py", config, cwd=collection.folder) as middle:
        asked = with_section(with_section(config, "Middle", port=middle.port), "Front", port=0)
        with running("front/front.py", asked, cwd=collection.folder) as front:
            reply = front.request("POST", "/v1/search", json={"text": "red"})
    return reply.status, "".join(middle.output + front.output)


def test_the_whole_system_answers_over_mutual_tls(guarded: Cluster, collection: Collection) -> None:
    """Embedding, searching, thumbnails and readiness, each hop encrypted and proven."""
    answer(guarded, collection)


@pytest.mark.parametrize("name", PATHS)
def test_no_certificate_is_let_in(
    guarded: Cluster, authority: Authority, token: str, tmp_path: Path, name: str
) -> None:
    """None, or one of another authority: the handshake fails, the token does not help."""
    service = inner(guarded)[name]
    for certificate in (None, Authority(tmp_path).issue("stranger")):
        with authority.client(certificate) as client, pytest.raises(urllib3.exceptions.HTTPError):
            ask(client, service, "GET", "/healthz", token)
    is_silent = guarded.config["Process"]["server"] == "granian"
    missing = "did not return a certificate"
    wait_until(lambda: is_silent or missing in "".join(service.output).lower().replace("_", " "))
    with authority.client(authority.issue("other")) as client:
        assert 200 == ask(client, service, "GET", "/healthz", None).status


@pytest.mark.parametrize("name", PATHS)
def test_no_token_is_401(guarded: Cluster, authority: Authority, token: str, name: str) -> None:
    """With a good certificate but without the token there is nothing but health."""
    service = inner(guarded)[name]
    with authority.client(authority.issue("client")) as client:
        for method, path in PATHS[name]:
            for wrong in (None, "", "x" * 40, token[:-1], f"{token}x", token.swapcase()):
                reply = ask(client, service, method, path, wrong)
                assert (401, "unauthorized") == (reply.status, reply.json()["code"])
            assert 401 != ask(client, service, method, path, token).status
        for path in ("/healthz", "/ready"):
            assert 200 == ask(client, service, "GET", path, None).status


def ask(
    client: urllib3.PoolManager, service: Service, method: str, path: str, token: str | None
) -> urllib3.BaseHTTPResponse:
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    return client.request(method, f"https://{service.address}{path}", headers=headers)


def test_plain_http_to_tls_ends_at_once(guarded: Cluster) -> None:
    """No answer in the clear, and the server goes on."""
    for service in inner(guarded).values():
        with socket.create_connection(("127.0.0.1", service.port), timeout=10) as plain:
            plain.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
            with suppress(ConnectionResetError):
                assert b"HTTP" not in plain.recv(65536)


def test_old_tls_is_refused(guarded: Cluster, authority: Authority) -> None:
    """Nothing under TLS 1.2."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(authority.file)
    context.load_cert_chain(authority.issue("old"))
    context.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.warns(DeprecationWarning, match="TLSv1_1"):
        context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_1
    with socket.create_connection(("127.0.0.1", guarded.middle.port), timeout=10) as plain:
        with pytest.raises(ssl.SSLError):
            context.wrap_socket(plain, server_hostname="127.0.0.1")


def test_a_peer_that_cannot_be_believed_is_503(
    guarded: Cluster, collection: Collection, tmp_path: Path
) -> None:
    """Middle with another authority: it believes none behind it, and its log says why."""
    other = Authority(tmp_path)
    status, output = refusal(guarded, collection, **other.inside(other.issue("middle")))

    assert 503 == status
    assert "certificate verify failed" in output.lower().replace("_", " ")


@pytest.mark.parametrize(
    ("hosts", "expired", "why"),
    [
        (("elsewhere.example",), False, "IP address mismatch"),
        (("127.0.0.1",), True, "certificate has expired"),
    ],
)
def test_a_wrong_name_or_an_old_certificate_is_503(
    guarded: Cluster,
    collection: Collection,
    authority: Authority,
    hosts: tuple[str, ...],
    expired: bool,
    why: str,
) -> None:
    """A certificate of ours for another host, or of last week, does not do for a server."""
    certificate = authority.issue("bad", *hosts, expired=expired)
    status, output = refusal(guarded, collection, **{"tls-cert": str(certificate)})

    assert 503 == status
    assert why in output


def test_another_token_is_503_and_not_the_client_s_fault(
    guarded: Cluster, collection: Collection
) -> None:
    """Middle shows the servers behind it a token that they do not know: 503, never 401."""
    (collection.folder / "other.token").write_text(secrets.token_urlsafe())
    status, output = refusal(guarded, collection, **{"token-file": "other.token"})

    assert 503 == status
    assert "refuses our token: see Inside.token-file" in output


def test_a_token_alone_does(collection: Collection, token: str) -> None:
    """Without TLS the token is demanded all the same, and a new one is taken up at once."""
    path = collection.folder / "moving.token"
    path.write_text(token)
    config = {**collection.config, "Inside": {"token-file": "moving.token"}}
    with cluster(config, 1, collection.folder) as services:
        answer(services, collection)
        for service in inner(services).values():
            assert 401 == service.request("GET", "/metrics").status
        path.write_text(secrets.token_urlsafe())
        answer(services, collection)
        old = {"Authorization": f"Bearer {token}"}
        assert 401 == services.middle.request("GET", "/info", headers=old).status


@pytest.mark.parametrize("script", ["middle/middle.py", "search/search.py", "front/front.py"])
@pytest.mark.parametrize(
    ("inside", "key"),
    [
        ({"token-file": "none"}, "Inside.token-file"),
        ({"token-file": "short"}, "16 characters"),
        ({"tls-cert": "none"}, "Inside.tls-cert"),
        ({"tls-cert": "short"}, "Inside.tls-cert"),
        ({"tls-ca": "short"}, "Inside.tls-ca is nothing without"),
    ],
)
def test_files_that_will_not_do_stop_the_start(
    tmp_path: Path, script: str, inside: dict[str, str], key: str
) -> None:
    """One line that names the key of the configuration, in every service."""
    (tmp_path / "short").write_text("short")
    done = run_command(script, {"Inside": inside}, cwd=tmp_path)

    assert 2 == done.returncode
    assert key in done.stderr
    assert "Traceback" not in done.stderr


def test_an_open_address_is_warned_of(collection: Collection, token: str) -> None:
    """Where others may reach it and nothing is demanded, the log says so; with a token not."""
    config = with_section(collection.config, "Middle", **{"server-list": ["0.0.0.0:0"]})
    command, folder = ("middle/middle.py", config, "--server-index", "0"), collection.folder
    for inside, is_told in (({}, True), ({"token-file": "inside.token"}, False)):
        config["Inside"] = inside
        with running(*command, cwd=folder) as middle:
            assert 200 == middle.request("GET", "/healthz").status
        assert is_told == ("ANSWERS WHOEVER REACHES IT" in "".join(middle.output))
