"""Fetching for image_url, from real servers on loopback: what is fetched, and from whom."""

import asyncio
import ssl
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from common.config import Front
from front.image_fetch import Fetcher, Internet
from tests.front.fake_website import OK, Elsewhere, elsewhere, moved, reply, write_certificate
from tests.front.fetching import HERE, HOST, THERE, at, code, fetch, names


@pytest.fixture
def server() -> Iterator[Elsewhere]:
    """A server at HERE, which HOST is the name of."""
    with elsewhere(HERE) as running:
        yield running


def test_an_image_is_fetched_as_nobody_in_particular(server: Elsewhere) -> None:
    """The request says whom it wants and nothing of who asked; the fragment stays here."""
    server.answers["/a%20b/%C3%BC.jpg?x=1&y=%2F"] = reply(b"bytes")

    assert b"bytes" == fetch(at(server, "/a%20b/ü.jpg?x=1&y=%2F#top"), [server.port])

    (head,) = server.heads
    assert [
        "GET /a%20b/%C3%BC.jpg?x=1&y=%2F HTTP/1.1",
        f"Host: {HOST}:{server.port}",
        "User-Agent: clip-search",
        "Accept: image/*",
        "Accept-Encoding: identity",
        "Connection: close",
    ] == head.splitlines()


BODIES = {
    "counted": reply(b"bytes"),
    "chunked": OK + b"Transfer-Encoding: chunked\r\n\r\n2\r\nby\r\n3\r\ntes\r\n0\r\n\r\n",
    "until the end": OK + b"\r\nbytes",
    "HTTP/1.0": b"HTTP/1.0 200 OK\r\n\r\nbytes",
    "identity": reply(b"bytes", "Content-Encoding: identity"),
}


@pytest.mark.parametrize("answer", BODIES.values(), ids=BODIES)
def test_a_body_is_read_however_it_is_sent(server: Elsewhere, answer: bytes) -> None:
    """All that HTTP/1 has to say where a body ends."""
    server.answers["/"] = answer

    assert b"bytes" == fetch(at(server, ""), [server.port])


def test_three_redirects_are_followed_and_no_fourth(server: Elsewhere) -> None:
    """Whole and relative addresses; a cookie is not kept."""
    server.answers = {
        "/4": moved("/3"),
        "/3": moved(at(server, "/2")),
        "/2": moved("1", "Set-Cookie: a=b"),
        "/1": moved("?x=0"),
        "/1?x=0": reply(b"bytes"),
    }

    assert b"bytes" == fetch(at(server, "/3"), [server.port])
    assert ["/3", "/2", "/1", "/1?x=0"] == server.paths
    assert not any("cookie" in head.lower() for head in server.heads)
    assert "image_url_failed" == code(at(server, "/4"), [server.port])


ELSEWHERE = [
    f"http://{THERE}/",
    "http://unknown.example/",
    "https://user:secret@pictures.example/",
    "ftp://pictures.example/",
    "//127.0.0.2/",
    "http://[",
    "http://pictures.example:22/",
]


@pytest.mark.parametrize("location", ELSEWHERE)
def test_a_redirect_is_checked_as_the_first_address_is(server: Elsewhere, location: str) -> None:
    """A public server cannot send us to where we would not go ourselves."""
    server.answers["/"] = moved(location)
    look_up = {HOST: [HERE], THERE: [THERE]}

    with elsewhere(THERE) as inside:
        ports = [server.port, inside.port, 80, 443]
        inner = location.replace("127.0.0.2/", f"127.0.0.2:{inside.port}/")
        server.answers["/"] = moved(inner)
        how = {"look_up": lambda host: look_up.get(host, [])}
        assert "image_url_refused" == code(at(server, "/"), ports, **how)

    assert [] == inside.heads


def test_a_name_is_looked_up_once(server: Elsewhere) -> None:
    """A name that changes between check and connection (rebinding) leads nowhere else."""
    server.answers["/"] = reply(b"bytes")
    answers = iter([[HERE], [THERE], [THERE]])

    with elsewhere(THERE, server.port) as inside:
        assert b"bytes" == fetch(at(server, "/"), [server.port], lambda _: next(answers))
        server.answers["/moved"] = moved("/")
        answers = iter([[HERE], [THERE]])
        again = {"look_up": lambda _: next(answers)}
        assert "image_url_refused" == code(at(server, "/moved"), [server.port], **again)

    assert [] == inside.heads


@pytest.mark.parametrize("addresses", [[], [THERE], [HERE, THERE], [THERE, HERE]], ids=str)
def test_every_address_of_a_name_must_be_allowed(server: Elsewhere, addresses: list[str]) -> None:
    """One that is not is enough, and none is, to connect to nobody."""
    how = {"look_up": names(*addresses)}

    assert "image_url_refused" == code(at(server, "/"), [server.port], **how)
    assert [] == server.heads


def test_the_next_address_is_tried(server: Elsewhere) -> None:
    """A name whose first address takes no connection is fetched from its second."""
    server.answers["/"] = reply(b"bytes")
    look_up = names("::1", HERE)
    front = Front(image_url_ports=(server.port,))

    with closing(Fetcher(front, Internet(look_up, lambda _: True))) as fetcher:
        assert b"bytes" == asyncio.run(fetcher.fetch(at(server, "/")))


@pytest.mark.parametrize("host", [THERE, "127.2", "2130706434", "0x7f000002", "[::1]", "a.b."])
def test_the_connection_goes_to_what_was_checked(server: Elsewhere, host: str) -> None:
    """Also where the URL holds an address, in whatever spelling: the look-up alone says where."""
    server.answers["/"] = reply(b"bytes")

    with elsewhere(THERE, server.port) as inside:
        url = f"http://{host}:{server.port}/"
        assert b"bytes" == fetch(url, [server.port], lambda _: [HERE])

    assert [] == inside.heads
    assert [f"Host: {host.rstrip('.')}:{server.port}"] == server.heads[0].splitlines()[1:2]


def test_a_redirect_may_hold_any_bytes(server: Elsewhere) -> None:
    """Those that are no UTF-8 are asked for as they are, percent-encoded."""
    somewhere = b"HTTP/1.1 302 Found\r\nLocation: /\xff\xc3\xbc\r\n\r\n"
    server.answers = {"/": somewhere, "/%FF%C3%BC": reply(b"bytes")}

    assert b"bytes" == fetch(at(server, "/"), [server.port])


def test_no_proxy_of_the_environment_is_asked(
    server: Elsewhere, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A proxy would look the name up itself."""
    server.answers["/"] = reply(b"bytes")
    with elsewhere() as proxy:
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, f"http://{HERE}:{proxy.port}")
        assert b"bytes" == fetch(at(server, "/"), [server.port])

    assert [] == proxy.heads


def test_a_certificate_must_be_for_the_name(tmp_path: Path) -> None:
    """TLS asks for the name, not the address, and verifies it; from there nothing leads to http."""
    certificate = write_certificate(tmp_path / "good.pem", [HOST])
    other = write_certificate(tmp_path / "other.pem", ["other.example"])
    ours = ssl.create_default_context(cafile=certificate)
    ours.load_verify_locations(other)

    with elsewhere(certificate=certificate) as server, elsewhere(certificate=other) as foreign:
        server.answers = {
            "/": reply(b"bytes"),
            "/moved": moved(at(server, "/", "https")),
            "/unsafe": moved(at(server, "/", "http")),
        }
        url, ports = at(server, "/", "https"), [server.port, foreign.port]
        assert b"bytes" == fetch(url, ports, tls=ours)
        assert b"bytes" == fetch(at(server, "/moved", "https"), ports, tls=ours)
        assert {HOST} == set(server.names)
        assert "image_url_refused" == code(at(server, "/unsafe", "https"), ports, tls=ours)
        assert "image_url_failed" == code(url, ports)  # nobody vouches for it
        assert "image_url_failed" == code(at(foreign, "/", "https"), ports, tls=ours)
        assert [] == foreign.heads
