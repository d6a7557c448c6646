"""What a reply of another service means, and what is sent along with a request."""

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from common.digest import DIGEST, LARGE_BYTES, content_digest, digested, with_digest
from common.errors import InvalidResponse, ServiceError, Unauthorized, Unavailable
from common.http_client import HttpClient, Reply, checked, problem_of


def reply(status: int, body: bytes = b"", **headers: str) -> Reply:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Reply(status, named, body)


@pytest.mark.parametrize("size", [0, 1, LARGE_BYTES + 1])
async def test_a_body_has_its_digest(size: int) -> None:
    """Small or large, which is hashed in another thread."""
    body = b"x" * size

    assert await digested(body) == with_digest(body) == (body, content_digest(body))


async def test_a_large_body_has_its_digest_though_the_threads_of_the_loop_are_taken() -> None:
    """As by names that no name server answers."""
    is_over = threading.Event()
    loop = asyncio.get_running_loop()
    loop.set_default_executor(ThreadPoolExecutor(1))
    waiting = loop.run_in_executor(None, is_over.wait)
    body = b"x" * (LARGE_BYTES + 1)
    try:
        assert await digested(body) == with_digest(body)
    finally:
        is_over.set()
        await waiting


async def test_a_good_reply_is_passed_on() -> None:
    """With a digest or, where none is needed, without."""
    plain = reply(200, b"good")
    digested = reply(200, b"good", Content_Digest=content_digest(b"good"))

    assert await checked(plain) is plain
    assert await checked(digested, needs_digest=True) is digested
    assert DIGEST in digested.headers


@pytest.mark.parametrize("status", [200, 400, 503])
@pytest.mark.parametrize("digest", [None, content_digest(b"other"), "nonsense"])
async def test_a_reply_that_was_changed_is_not_believed(status: int, digest: str | None) -> None:
    """Whatever it says; nor one without a digest where one is needed."""
    given = reply(status, b"good", **({"Content_Digest": digest} if digest else {}))
    with pytest.raises(InvalidResponse, match="changed on the way"):
        await checked(given, needs_digest=True)


async def test_an_error_is_raised_as_it_was_told() -> None:
    """With its status, code and detail; a 503 may be asked again."""
    for status, kind in ((404, ServiceError), (503, Unavailable)):
        body = f'{{"status":{status},"code":"told","detail":"why"}}'.encode()
        with pytest.raises(kind, match="why") as error:
            await checked(reply(status, body))
        assert (error.value.status, error.value.code) == (status, "told")


async def test_who_refuses_our_token_is_not_the_client_s_fault() -> None:
    """The client's own key was good."""
    body = b'{"status":401,"code":"unauthorized","detail":"who are you"}'
    with pytest.raises(Unavailable, match="refuses us") as error:
        await checked(reply(401, body))

    assert error.value.code != Unauthorized.code


@pytest.mark.parametrize(
    ("status", "body", "found"),
    [
        (404, b"<html>", (404, "internal")),
        (502, b"<html>", (503, "unavailable")),
        (404, b'{"status":503,"code":"a lie"}', (404, "internal")),
        (500, b"\xff", (503, "unavailable")),
        (500, b"[" * 100_000, (503, "unavailable")),
    ],
)
def test_a_server_that_is_none_of_ours_has_its_errors_read_by_their_status(
    status: int, body: bytes, found: tuple[int, str]
) -> None:
    """As TorchServe, or what stands between; over 499 it is unavailable."""
    problem = problem_of(status, body)

    assert (problem.status, problem.code) == found


async def test_nothing_is_opened_before_the_first_request() -> None:
    """So closing has nothing to do."""
    await HttpClient().close()
