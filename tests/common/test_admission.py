"""Who is let in, by plain calls of WSGI, with a clock of our own."""

import io
import json
from collections.abc import Iterable
from typing import Any

import pytest
from prometheus_client import REGISTRY

from common.errors import BadRequest
from common.server import body
from common.server.admission import Admission, Environ, Start
from common.server.body import Chunks, CountedBody

LIMIT = 2


class Clock:
    """Time that goes when a test says so."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class Reply(list[bytes]):
    """A reply that is being sent until it is closed, as servers do."""

    is_closed = False

    def close(self) -> None:
        self.is_closed = True


class Application:
    """Answers, or fails, as a test says; and what came of it."""

    def __init__(self) -> None:
        self.asked: list[Environ] = []
        self.replies: list[Reply] = []
        self.failure: Exception | None = None

    def __call__(self, environ: Environ, start_response: Start) -> Iterable[bytes]:
        self.asked.append(environ)
        if self.failure:
            raise self.failure
        start_response("200 OK", [])
        self.replies.append(Reply([b"well"]))
        return self.replies[-1]


class Asked:
    """What a server has of the reply to one request."""

    def __init__(self, admission: Admission, path: str = "/search", **environ: Any) -> None:
        self.status, self.headers = "", dict[str, str]()
        self.input = environ.get("wsgi.input", io.BytesIO())
        given = {"PATH_INFO": path, "wsgi.input": self.input, **environ}
        self.reply: Any = admission(given, self._start)

    def _start(self, status: str, headers: list[tuple[str, str]]) -> None:
        self.status, self.headers = status, dict(headers)

    def close(self) -> None:
        """As a server does once the reply is sent, or nobody takes it."""
        self.reply.close()


class Kept:
    """A request as gunicorn has it."""

    is_closed = False

    def force_close(self) -> None:
        self.is_closed = True


@pytest.fixture
def application() -> Application:
    return Application()


@pytest.fixture
def admission(application: Application) -> Admission:
    """Lets two in."""
    admission = Admission("a-test", application, Clock())
    admission.limit = LIMIT
    return admission


@pytest.fixture
def kept() -> Kept:
    """The connection that this thread answers on."""
    request = Kept()
    body.answer(request)
    return request


def metric(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(f"clip_search_{name}", labels) or 0.0


def test_a_request_counts_until_its_reply_is_closed(admission: Admission) -> None:
    """Not only until the application has made it."""
    first, second = Asked(admission), Asked(admission)
    assert 2 == admission.count()
    assert [b"well"] == list(first.reply)
    assert 2 == admission.count()
    first.close()
    assert 1 == admission.count()
    second.close()
    assert 0 == admission.count()


def test_one_too_many_is_refused_before_the_application_works(
    admission: Admission, application: Application
) -> None:
    """503 with a problem and when to come again; it counts for nothing, and is counted."""
    dropped = metric("dropped_total", service="a-test", reason="overloaded")
    for _ in range(LIMIT):
        Asked(admission)
    refused = Asked(admission, HTTP_X_REQUEST_ID="mine")
    problem = json.loads(b"".join(refused.reply))

    assert LIMIT == len(application.asked) == admission.count()
    assert "503 Service Unavailable" == refused.status
    assert (503, "overloaded", "mine") == (
        problem["status"],
        problem["code"],
        problem["request_id"],
    )
    assert "application/problem+json" == refused.headers["Content-Type"]
    assert "1" == refused.headers["Retry-After"]
    assert 1 == metric("dropped_total", service="a-test", reason="overloaded") - dropped


@pytest.mark.parametrize("path", ["/healthz", "/ready", "/metrics"])
def test_what_a_service_says_of_itself_never_counts(admission: Admission, path: str) -> None:
    """It is answered with all places taken, and takes none."""
    for _ in range(LIMIT):
        Asked(admission)

    assert "200 OK" == Asked(admission, path).status
    assert LIMIT == admission.count()


def test_a_place_is_free_again_after_a_failure(
    admission: Admission, application: Application
) -> None:
    """Whatever the application raises."""
    application.failure = ZeroDivisionError()
    for _ in range(2 * LIMIT):
        with pytest.raises(ZeroDivisionError):
            Asked(admission)
    assert 0 == admission.count()


@pytest.mark.parametrize(
    ("environ", "is_read", "is_closed"),
    [
        ({}, True, False),
        ({"CONTENT_LENGTH": "10"}, True, False),
        ({"CONTENT_LENGTH": str(2**16)}, True, False),
        ({"CONTENT_LENGTH": str(2**16 + 1)}, False, True),
        ({"HTTP_TRANSFER_ENCODING": "chunked"}, False, True),
    ],
)
def test_a_refused_body_is_read_or_the_connection_closed(
    admission: Admission, kept: Kept, environ: dict[str, str], is_read: bool, is_closed: bool
) -> None:
    """So that the client sees the reply, and no rest is taken for a request."""
    admission.limit = 0
    length = int(environ.get("CONTENT_LENGTH", 10 * bool(environ)))
    given: dict[str, Any] = {**environ, "wsgi.input": io.BytesIO(bytes(length))}
    refused = Asked(admission, **given)

    assert is_closed == kept.is_closed
    assert is_read == (refused.input.read() == b"")


def test_a_draining_server_says_so_and_closes(admission: Admission, kept: Kept) -> None:
    """In replies to requests that began before, too."""
    assert "X-Draining" not in Asked(admission).headers
    assert not kept.is_closed
    admission.draining.begin()

    assert "1" == Asked(admission).headers["X-Draining"]
    assert kept.is_closed


def test_each_request_has_an_id(admission: Admission, application: Application) -> None:
    """Its caller's if that is one, else a new one."""
    for given in ("mine", "", "no id", "a," * 8 + "a"):
        Asked(admission, "/ready", HTTP_X_REQUEST_ID=given)
    ids = [environ["clip_search.request_id"] for environ in application.asked]

    assert "mine" == ids[0]
    assert all(len(one) == 32 for one in ids[1:])
    assert 4 == len(set(ids))


class Broken:
    """A body that a server cannot read."""

    def __init__(self, error: Exception) -> None:
        self._error = error

    def read(self, _size: int = -1) -> bytes:
        raise self._error

    readline = read


def test_what_is_no_chunk_is_a_bad_request(kept: Kept) -> None:
    """Whatever exception the server has for it; one of the connection stays what it is."""
    counted: list[int] = []
    broken = Chunks(Broken(RuntimeError()), counted.append)
    for read in (broken.read, broken.readline):
        with pytest.raises(BadRequest):
            read(10)
    assert kept.is_closed
    with pytest.raises(ConnectionResetError):
        Chunks(Broken(ConnectionResetError()), counted.append).read()
    assert b"ab" == Chunks(io.BytesIO(b"abc"), counted.append).read(2)
    assert [2] == counted


@pytest.mark.parametrize("sizes", [[-1], [3, -1], [2, 5], [99]])
def test_a_body_that_is_cut_is_a_bad_request(kept: Kept, sizes: list[int]) -> None:
    """However it is read; where it is whole, so is what is read of it."""
    whole, cut = CountedBody(io.BytesIO(b"a\nbcdefg"), 8), CountedBody(io.BytesIO(b"a\nbcd"), 8)
    assert b"a\n" + b"bcd" + b"efg" == whole.readline() + whole.read(3) + whole.read()
    assert b"" == whole.read() == whole.read(1)
    *before, last = sizes
    for size in before:
        cut.read(size)
    with pytest.raises(BadRequest, match="shorter"):
        cut.read(last)
    assert kept.is_closed
