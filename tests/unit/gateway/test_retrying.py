"""Overload behind the gateway costs time, and ends no request within the wait."""

import asyncio

import pytest

from common.errors import BadRequest, InvalidResponse, Overloaded, ServiceError
from common.http_client import Reply
from gateway.retrying import RetryingMiddle
from middle.messages import EmbedQuery
from tests.unit.gateway.fake_middle import FakeMiddle

QUERY = EmbedQuery(texts=["a"])


async def test_overload_is_waited_out() -> None:
    """Thirty refusals in a row are no error."""
    middle = FakeMiddle()
    middle.failures.extend(Overloaded("full") for _ in range(30))

    answer = await RetryingMiddle(middle, 10, 120).embed(QUERY)

    assert len(answer.embeddings) == 1
    assert len(middle.embedded) == 31


async def test_the_wait_has_an_end() -> None:
    """After it, the last refusal is the answer."""
    middle, loop = FakeMiddle(), asyncio.get_running_loop()
    middle.failures.extend(Overloaded("full") for _ in range(1000))
    since = loop.time()
    with pytest.raises(Overloaded):
        await RetryingMiddle(middle, 10, 30).embed(QUERY)

    assert 25 < loop.time() - since <= 30


@pytest.mark.parametrize("error", [BadRequest("no"), ServiceError("broken")])
async def test_other_errors_are_answers(error: ServiceError) -> None:
    """They would come again."""
    middle = FakeMiddle()
    middle.failures.append(error)
    with pytest.raises(type(error)):
        await RetryingMiddle(middle, 10, 30).embed(QUERY)

    assert len(middle.embedded) == 1


async def test_a_reply_that_is_none_is_refused() -> None:
    """Middle is another program then."""

    class Other(FakeMiddle):
        async def embed(self, query: EmbedQuery, deadline: float) -> Reply:
            return Reply(200, {}, b'{"vectors": []}')

    with pytest.raises(InvalidResponse):
        await RetryingMiddle(Other(), 10, 30).embed(QUERY)
