"""An upstream of servers without sockets, for tests, and how often each is asked."""

import asyncio
from typing import Any

from common.http_client import BrokenReply, NotConnected, Request
from common.upstream import Upstream
from tests.unit.counting import counted
from tests.unit.fake_http import Answer, FakeHttp, failing, saying

POST = Request("POST", "/search")
REFUSED = failing(NotConnected("refused"))
BROKEN = failing(BrokenReply("broke off"))
GOOD = saying(b"good")


def problem(status: int, code: str) -> Answer:
    body = f'{{"status":{status},"code":"{code}","detail":"told"}}'.encode()
    return saying(body, status)


def servers(*answers: Answer) -> FakeHttp:
    return FakeHttp({f"server-{n}:80": answer for n, answer in enumerate(answers)})


def upstream(http: FakeHttp, **settings: Any) -> Upstream:
    """An upstream that asks its replicas in order: each is expected to take a little longer."""
    one = Upstream("unit", list(http.answers), http.client, **settings)
    now = asyncio.get_running_loop().time()
    for number, replica in enumerate(one._replicas.all):
        replica.latency.observe(0.001 * 10**number, now)
    return one


async def ask(one: Upstream, request: Request = POST, seconds: float = 5.0) -> bytes:
    deadline = asyncio.get_running_loop().time() + seconds
    return await one.ask(request, deadline, lambda reply: reply.body)


def sends(http: FakeHttp) -> list[int]:
    return list(http.count().values())


def extra(why: str) -> float:
    return counted("clip_search_extra_requests_total", server="unit", why=why)


def spend(one: Upstream, why: str) -> None:
    while one._budgets[why].spend():
        pass
