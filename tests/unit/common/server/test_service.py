"""What all services answer, without a server around them."""

import logging

import pytest
from flask import Flask, request

from common.errors import BadRequest
from common.request_context import CONTEXT
from common.server.request import bypasses_cache
from common.server.service import create_service, on_close


@pytest.fixture
def app() -> Flask:
    """A service that is ready, with a route that names its request."""
    one = create_service("unit", lambda: None, 100)

    @one.post("/who")
    def who() -> dict[str, object]:
        request.get_data()
        return {"who": CONTEXT.get().request_ids, "fresh": bypasses_cache(request)}

    @one.get("/bad")
    def bad() -> str:
        raise BadRequest("not like that")

    @one.get("/odd")
    def odd() -> str:
        raise ValueError("a secret")

    return one


def test_a_service_tells_how_it_is(app: Flask) -> None:
    """Alive, ready, and in numbers."""
    client = app.test_client()

    assert client.get("/healthz").json == {"status": "alive"}
    assert client.get("/ready").json == {"status": "ready"}
    assert b"clip_search_requests_total" in client.get("/metrics").data


@pytest.mark.parametrize("reason", [None, "no index"])
def test_a_service_that_is_not_ready_says_why(reason: str | None) -> None:
    """Draining is a reason by itself."""
    app = create_service("unit", lambda: reason)
    if reason is None:
        app.extensions["admission"].draining.begin()
    reply = app.test_client().get("/ready")

    assert reply.status_code == 503
    assert reply.get_json()["code"] == ("not_ready" if reason else "draining")


@pytest.mark.parametrize(
    ("given", "is_taken"), [("mine-1", True), ("a,b", True), ("a b", False), ("x" * 65, False)]
)
def test_a_request_has_an_id(app: Flask, given: str, is_taken: bool) -> None:
    """The caller's where it is one, and it goes along."""
    reply = app.test_client().post("/who", headers={"X-Request-Id": given})

    assert reply.headers["X-Request-Id"] == reply.get_json()["who"]
    assert (reply.get_json()["who"] == given) == is_taken


def test_errors_are_problems(app: Flask, caplog: pytest.LogCaptureFixture) -> None:
    """Those that nobody foresaw tell nothing of themselves but in the log."""
    client = app.test_client()
    bad, odd, none = (client.get(path) for path in ("/bad", "/odd", "/none"))

    assert (bad.status_code, bad.get_json()["detail"]) == (400, "not like that")
    assert odd.status_code == 500
    assert b"secret" not in odd.data
    assert "a secret" in caplog.text
    assert (none.status_code, none.content_type) == (404, "application/problem+json")


def test_a_body_over_the_limit_is_refused(app: Flask) -> None:
    """It is not read."""
    assert app.test_client().post("/who", data=b"x" * 101).status_code == 413


@pytest.mark.parametrize(("given", "is_fresh"), [("no-cache", True), ("max-age=5", False)])
def test_a_client_may_want_nothing_that_was_kept(app: Flask, given: str, is_fresh: bool) -> None:
    """As browsers say it."""
    reply = app.test_client().post("/who", headers={"Cache-Control": given})

    assert reply.get_json()["fresh"] == is_fresh


def test_a_failed_request_is_logged(app: Flask, caplog: pytest.LogCaptureFixture) -> None:
    """A quick good one is not."""
    caplog.set_level(logging.INFO)
    client = app.test_client()
    client.get("/healthz")
    assert "answered" not in caplog.text
    client.get("/odd")
    assert "answered" in caplog.text


def test_what_was_opened_is_closed_the_newest_first(app: Flask) -> None:
    """When the process ends."""
    closed: list[int] = []
    for number in (1, 2):
        on_close(app, lambda number=number: closed.append(number))  # type: ignore[misc]
    app.extensions["closing"].close()

    assert closed == [2, 1]
