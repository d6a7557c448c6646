"""Two replicas are restarted in turn: while either is well, every answer is whole."""

import asyncio

import msgspec
import pytest

from common.digest import content_digest
from common.http_client import Reply
from common.wire import encode
from middle.fan_out import FanOut
from search.client import SearchServer
from search.messages import Info, SearchReply, SearchRequest, ShardHits
from tests.unit.asking import BROKEN, REFUSED
from tests.unit.fake_http import Answer, FakeHttp, hang, saying
from tests.unit.shards import VECTOR, hits

FIRST, SECOND = "first:80", "second:80"
NOT_READY = saying(status=503)


class Twins:
    """Two replicas that hold the only shard of an index, and the fan-out that asks them."""

    def __init__(self) -> None:
        self.http = FakeHttp(dict.fromkeys((FIRST, SECOND), self.answer()))
        self.server = SearchServer("unit", (FIRST, SECOND), self.http.client)
        self.fan_out = FanOut([self.server], lambda _server, _count: [0])

    def answer(self, after_s: float = 0.01, **headers: str) -> Answer:
        """How a replica that is well answers the request that was sent last."""

        async def answer() -> Reply:
            request = self.http.sent[-1].request
            body = encode(Info("v1", "space", "clip", 2, 7, [0], 1, "digest"))
            if request.body:
                asked = msgspec.msgpack.decode(request.body.body, type=SearchRequest)
                found = [ShardHits(0, [hits()] * len(asked.ks))]
                body = encode(SearchReply("v1", "digest", "space", 1, found))
            named = {name.replace("_", "-"): value for name, value in headers.items()}
            await asyncio.sleep(after_s)
            return Reply(200, {"Content-Digest": content_digest(body), **named}, body)

        return answer

    async def search(self, seconds: float = 2.0) -> bool:
        """Whether an answer is whole; raises Unavailable as no shard answers."""
        deadline = asyncio.get_running_loop().time() + seconds
        found = await self.fan_out.search(VECTOR, 3, 6, deadline)
        return not found.coverage.degraded

    async def restart_first(self) -> None:
        """Restart the first replica: it has drained, was gone, and is in use again."""
        await self.fan_out.survey(1.0)
        self.http.probes[FIRST] = NOT_READY
        self.http.answers[FIRST] = self.answer(X_Draining="1")
        while FIRST in self.server.in_use():
            assert await self.search()
        self.http.answers[FIRST] = BROKEN
        assert await self.search()
        self.http.probes[FIRST], self.http.answers[FIRST] = saying(), self.answer()
        while FIRST not in self.server.in_use():
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("end", [BROKEN, REFUSED, hang], ids=["broken", "refused", "mute"])
async def test_the_second_ends_just_after_the_first_is_back(end: Answer) -> None:
    """Before the first has told what it holds."""
    twins = Twins()
    await twins.restart_first()
    twins.http.answers[SECOND] = end
    twins.http.probes[SECOND] = NOT_READY

    assert await twins.search()
    await twins.fan_out.close()


async def test_the_second_drains_while_queries_wait_for_it() -> None:
    """The first, which has not told what it holds yet, answers those that are not sent yet."""
    twins = Twins()
    await twins.restart_first()
    twins.http.answers[SECOND] = twins.answer(X_Draining="1")
    twins.http.probes[SECOND] = NOT_READY
    queries = []
    for _ in range(6):  # more than are sent to a server at a time
        queries.append(asyncio.ensure_future(twins.search()))
        await asyncio.sleep(0.001)

    assert all(await asyncio.gather(*queries))
    await twins.fan_out.close()
