"""Overload behind the gateway costs time, and ends no request within the wait."""

import asyncio

import pytest

from common.errors import (
    BadRequest,
    DeadlineExceeded,
    InvalidResponse,
    Overloaded,
    ServiceError,
)
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


class Small(FakeMiddle):
    """Embeds two requests at a time, each in a second, and refuses the rest at once."""

    under_way = 0

    async def embed(self, query: EmbedQuery, deadline: float) -> Reply:
        if self.under_way == 2:
            raise Overloaded("full")
        self.under_way += 1
        try:
            await asyncio.sleep(1)
            return await super().embed(query, deadline)
        finally:
            self.under_way -= 1


async def test_nobody_is_passed_by_those_who_came_later() -> None:
    """Of many, none is refused for good, and the middle is never without work."""
    middle, loop = Small(), asyncio.get_running_loop()
    asked, since, ended = RetryingMiddle(middle, 10, 30), loop.time(), list[int]()

    async def embed(number: int) -> None:
        await asked.embed(QUERY)
        ended.append(number)

    await asyncio.gather(*map(embed, range(300)))

    assert 150 <= loop.time() - since < 165
    assert all(abs(number - place) < 40 for place, number in enumerate(ended))


async def test_a_middle_that_hangs_holds_nobody_up_for_others() -> None:
    """All are told within the wait and four deadlines, though it had been overloaded before.

    Two requests are sent alone before that, as too many at a time would look the same.
    """

    class Hung(Small):
        async def embed(self, query: EmbedQuery, deadline: float) -> Reply:
            if loop.time() < hangs_at:
                return await super().embed(query, deadline)
            await asyncio.sleep(deadline - loop.time())
            raise DeadlineExceeded("no answer")

    loop = asyncio.get_running_loop()
    hangs_at = loop.time() + 3
    asked = RetryingMiddle(Hung(), 10, 30)
    ended = await asyncio.gather(*(asked.embed(QUERY) for _ in range(100)), return_exceptions=True)

    assert 90 < sum(isinstance(one, DeadlineExceeded) for one in ended) < 100
    assert loop.time() - hangs_at < 30 + 4 * 10 + 5


async def test_too_many_at_a_time_may_be_late_in_place_of_refused() -> None:
    """They are sent one after the other then, as far as a server ends them in time."""

    class Slow(FakeMiddle):
        busy_until, now_at = 0.0, 0

        async def embed(self, query: EmbedQuery, deadline: float) -> Reply:
            """Takes half a second for each of at most 8 at a time; what is given up goes on."""
            self.now_at += 1
            await asyncio.sleep(0)
            now = loop.time()
            takes_s = max(0.0, self.busy_until - now) + 0.5 * min(8, self.now_at)
            await asyncio.sleep(min(2, takes_s))
            self.now_at -= 1
            if takes_s > 2:
                self.busy_until = max(self.busy_until, now + min(4, takes_s))
                raise DeadlineExceeded("no answer")
            return await super().embed(query, deadline)

    loop = asyncio.get_running_loop()
    asked, since = RetryingMiddle(Slow(), 10, 30), loop.time()
    await asyncio.gather(*(asked.embed(QUERY) for _ in range(32)))

    assert loop.time() - since < 60


async def test_the_limit_stays_while_all_pause() -> None:
    """Others filled middle, so that it refused everything; then it takes two at a time."""

    class Shared(Small):
        refusals = 0

        async def embed(self, query: EmbedQuery, deadline: float) -> Reply:
            await asyncio.sleep(0.01)  # all are on their way before the first is refused
            try:
                if loop.time() < free_at:
                    raise Overloaded("full")
                return await super().embed(query, deadline)
            except Overloaded:
                self.refusals += 1
                raise

    loop, middle = asyncio.get_running_loop(), Shared()
    free_at = loop.time() + 1
    asked = RetryingMiddle(middle, 10, 30)
    await asyncio.gather(*(asked.embed(QUERY) for _ in range(100)))

    assert loop.time() - free_at < 60
    assert middle.refusals < 200


async def test_who_gives_up_leaves_the_line() -> None:
    """Before its turn, or when it has been called."""
    middle = Small()
    asked = RetryingMiddle(middle, 10, 30)
    going = [asyncio.ensure_future(asked.embed(QUERY)) for _ in range(8)]
    await asyncio.sleep(0.5)
    for one in going[1:7]:
        one.cancel()
    ended = await asyncio.gather(*going, return_exceptions=True)
    await asyncio.gather(asked.embed(QUERY), asked.embed(QUERY))

    assert [isinstance(one, asyncio.CancelledError) for one in ended] == [False, *6 * [True], False]


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
