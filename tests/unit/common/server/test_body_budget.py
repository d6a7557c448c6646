"""The bytes that a worker holds: a further body is refused before it is read (kind I)."""

import io
import sys
from collections.abc import Iterable
from typing import Any

import pytest

from common.errors import Overloaded
from common.server import body, heap
from common.server.admission import Admission, Environ, Start
from common.server.body import READ_BYTES
from common.server.body_budget import SHARING_S, BodyBudget

LARGE = 4 * READ_BYTES
LIMIT = 3 * LARGE


class Reads:
    """Reads its body in pieces, and answers."""

    def __init__(self) -> None:
        self.read = 0

    def __call__(self, environ: Environ, start_response: Start) -> Iterable[bytes]:
        while data := environ["wsgi.input"].read(READ_BYTES):
            self.read += len(data)
        start_response("200 OK", [])
        return [b"well"]


@pytest.fixture
def application() -> Reads:
    return Reads()


@pytest.fixture
def admission(application: Reads) -> Admission:
    """Holds three large bodies."""
    admission = Admission("bytes", application)
    admission.bodies.limit = LIMIT
    return admission


class Asked:
    """A request, in hand until it is closed."""

    def __init__(self, admission: Admission, size: int, **environ: str) -> None:
        self.status, self.headers = "", dict[str, str]()
        self.input = io.BytesIO(bytes(size))
        length = {} if environ else {"CONTENT_LENGTH": str(size)}
        given = {"PATH_INFO": "/search", "wsgi.input": self.input, **length, **environ}
        self.reply: Any = admission(given, self._start)

    def _start(self, status: str, headers: list[tuple[str, str]]) -> None:
        self.status, self.headers = status, dict(headers)


def test_a_body_too_many_is_refused_unread(admission: Admission, application: Reads) -> None:
    """503 and when to come again; once another reply is sent there is room."""
    taken = [Asked(admission, LARGE) for _ in range(3)]
    refused = Asked(admission, LARGE)
    assert ["200 OK"] * 3 == [one.status for one in taken]
    assert "503 Service Unavailable" == refused.status
    assert "1" == refused.headers["Retry-After"]
    assert b"too many bytes" in b"".join(refused.reply)
    assert (3 * LARGE, 0) == (application.read, refused.input.tell())
    taken[0].reply.close()
    assert "200 OK" == Asked(admission, LARGE).status


def test_small_bodies_are_never_refused_for_large_ones(admission: Admission) -> None:
    """Whoever uploads images holds up no text."""
    for _ in range(3):
        Asked(admission, LARGE)

    assert "200 OK" == Asked(admission, READ_BYTES).status
    assert LIMIT == admission.bodies.held()


def test_the_only_body_is_taken_however_large(admission: Admission) -> None:
    """Its own limit is another's to know; then there is room for none."""
    only = Asked(admission, 2 * LIMIT)
    assert "200 OK" == only.status
    assert "503 Service Unavailable" == Asked(admission, LARGE).status
    only.reply.close()
    assert 0 == admission.bodies.held()


def test_chunks_are_counted_as_they_arrive(admission: Admission, application: Reads) -> None:
    """A body that is over the limit only when it has come is refused then; none stays counted."""
    chunked = Asked(admission, LARGE, HTTP_TRANSFER_ENCODING="chunked")
    assert LARGE == admission.bodies.held()
    application.read = 0
    with pytest.raises(Overloaded):
        Asked(admission, LIMIT, HTTP_TRANSFER_ENCODING="chunked")
    assert application.read <= LIMIT - LARGE
    assert LARGE == admission.bodies.held()
    chunked.reply.close()
    assert 0 == admission.bodies.held()


def test_what_was_refused_closes_the_connection(admission: Admission) -> None:
    """A large body that nobody reads must not be taken for the next request."""

    class Kept:
        is_closed = False

        def force_close(self) -> None:
            self.is_closed = True

    kept = Kept()
    body.answer(kept)
    for _ in range(4):
        Asked(admission, LARGE)

    assert kept.is_closed


def test_memory_is_given_back_once_nothing_is_held(monkeypatch: pytest.MonkeyPatch) -> None:
    """Once after each time, and not for small bodies."""
    trims: list[None] = []
    monkeypatch.setattr(heap, "trim", lambda: trims.append(None))
    bodies = BodyBudget()
    for before, after in ((0, READ_BYTES), (0, LARGE), (0, LARGE), (LARGE, 0)):
        bodies.change(before, after)
        bodies.give_back_memory()
    assert [] == trims
    bodies.change(LARGE, 0)
    for _ in range(2):
        bodies.give_back_memory()

    assert [None] == trims


def test_threads_share_the_lock_while_bodies_are_held(admission: Admission) -> None:
    """Kind I: texts wait less for Python's lock beside uploads, and cost no more without."""
    usual = sys.getswitchinterval()
    small, *large = (Asked(admission, size) for size in (READ_BYTES, LARGE, LARGE))
    assert SHARING_S == pytest.approx(sys.getswitchinterval())
    for one in (small, *large):
        assert sys.getswitchinterval() < usual
        one.reply.close()
    assert usual == sys.getswitchinterval()
