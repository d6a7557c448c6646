"""What replies tell browsers."""

from typing import Any

import pytest
from flask import Flask

from common.config import Front
from front.browser_headers import HEADERS, POLICY, add_headers, disposition

PAGE = "https://page.example"


def client(**front: Any) -> Any:
    """Asks an application with one route."""
    app = Flask("unit")
    add_headers(app, Front(**front))
    app.get("/")(lambda: "hello")
    return app.test_client()


def test_every_reply_says_what_a_page_may_load() -> None:
    """Errors too; that only HTTPS is to be used where it is."""
    for path in ("/", "/none"):
        headers = client().get(path).headers
        assert headers["Content-Security-Policy"] == POLICY
        assert set(HEADERS.items()) <= set(headers.items())
        assert "Strict-Transport-Security" not in headers
    assert "Strict-Transport-Security" in client(tls_cert="cert.pem").get("/").headers


@pytest.mark.parametrize(("origin", "may"), [(PAGE, True), ("https://other.example", False)])
def test_listed_sites_may_read_answers(origin: str, may: bool) -> None:
    """Others, and those who ask where none is listed, are told nothing."""
    asked = client(cors_origins=(PAGE,))
    reply = asked.get("/", headers={"Origin": origin})
    assert reply.headers.get("Access-Control-Allow-Origin") == (origin if may else None)
    assert "Origin" in reply.headers["Vary"]
    assert "Vary" not in client().get("/", headers={"Origin": origin}).headers


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("owl.jpg", "inline; filename=owl.jpg"),
        ("a\nb.jpg", "inline; filename=a_b.jpg; filename*=UTF-8''a%0Ab.jpg"),
        ("\x00\x1f\x7f", "inline; filename=___; filename*=UTF-8''%00%1F%7F"),
        ("été \r.png", "inline; filename=\"ete _.png\"; filename*=UTF-8''%C3%A9t%C3%A9%20%0D.png"),
    ],
)
def test_a_name_is_told_whatever_it_holds(name: str, expected: str) -> None:
    """Kind E: no control character reaches the header."""
    assert expected == disposition(name)


def test_a_browser_may_ask_whether_it_may_ask() -> None:
    """A listed site's page is told the methods of the route, if there is one."""
    headers = {"Origin": PAGE, "Access-Control-Request-Method": "POST"}
    listed = client(cors_origins=(PAGE,))
    reply = listed.options("/", headers=headers)
    assert reply.status_code == 204
    told = reply.headers["Access-Control-Allow-Methods"].split(", ")
    assert sorted(told) == ["GET", "HEAD", "OPTIONS"]

    assert listed.options("/none", headers=headers).status_code == 404
    assert "Access-Control-Allow-Methods" not in client().options("/", headers=headers).headers


def test_with_keys_a_reply_is_its_key_s() -> None:
    """A cache between must not give it to another."""
    assert "Authorization" in client(keys_file="keys.json").get("/").headers["Vary"]
