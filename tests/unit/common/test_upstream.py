"""Asking a service with replicas: budgets, deadlines, and which replicas are left out."""

import asyncio

import pytest

from common.digest import with_digest
from common.errors import DeadlineExceeded
from common.http_client import BrokenReply, Reply, Request
from common.load_balancing import BUDGET_CAP, ENOUGH, UNKNOWN_S
from tests.unit.asking import BROKEN, GOOD, POST, ask, extra, sends, servers, spend, upstream
from tests.unit.fake_http import Answer, hang, saying

pytestmark = pytest.mark.usefixtures("no_chance")


@pytest.mark.parametrize(
    ("why", "first"), [("hedge", saying(b"slow", after_s=1)), ("retry", BROKEN)]
)
async def test_a_spent_budget_ends_what_is_asked_twice(why: str, first: Answer) -> None:
    """Refusals are counted, and ten may be spent before the share must be earned."""
    http = servers(first, GOOD)
    one = upstream(http)
    before, over = extra(why), extra(f"{why}-over-budget")
    one._budgets[why]._share = 0.0
    for _ in range(int(BUDGET_CAP) + 3):
        replica = one._replicas.all[0]
        replica.failures, replica.latency = 0, type(replica.latency)()
        await asyncio.gather(ask(one), return_exceptions=True)

    assert sends(http) == [BUDGET_CAP + 3, BUDGET_CAP]
    assert extra(why) - before == BUDGET_CAP
    assert extra(f"{why}-over-budget") - over == 3
    await one.close()


async def test_budgets_are_earned_by_requests() -> None:
    """At a fifth, the fifth request after the budget was spent may be asked again."""
    http = servers(GOOD, GOOD)
    one = upstream(http)
    spend(one, "retry")
    for _ in range(4):
        await ask(one)
    http.answers["server-0:80"] = http.answers["server-1:80"] = BROKEN
    with pytest.raises(BrokenReply):
        await ask(one)

    assert len(http.sent) == 4 + 2


async def test_after_the_deadline_nothing_is_sent() -> None:
    """Whoever asked has an error already."""
    http = servers(GOOD)
    with pytest.raises(DeadlineExceeded):
        await ask(upstream(http), seconds=0.0)

    assert sends(http) == [0]


@pytest.mark.parametrize("grace_s", [0.0, 0.1])
async def test_a_hung_service_costs_the_deadline(grace_s: float) -> None:
    """And not more, but the grace that its own error takes; both tries are given up and probed."""
    http = servers(hang, hang)
    http.probes = dict.fromkeys(http.probes, hang)
    one = upstream(http, grace_s=grace_s)
    began = asyncio.get_running_loop().time()
    with pytest.raises(DeadlineExceeded):
        await ask(one, seconds=2)

    assert asyncio.get_running_loop().time() - began == pytest.approx(2 + grace_s)
    await asyncio.sleep(2)
    assert sorted(set(http.probed)) == ["server-0:80", "server-1:80"]
    assert sum(replica.is_ejected for replica in one._replicas.all) == 1
    await one.close()


async def test_a_draining_replica_is_ejected_by_its_reply() -> None:
    """The reply counts, and the next request goes elsewhere."""
    http = servers(saying(b"last", X_Draining="1"), GOOD)
    http.probes["server-0:80"] = saying(status=503)
    one = upstream(http)

    assert await ask(one) == b"last"
    assert await ask(one) == b"good"
    assert sends(http) == [1, 1]
    await one.close()


async def test_with_all_replicas_ejected_nothing_is_waited_for() -> None:
    """The last failure is told at once."""
    http = servers(BROKEN, BROKEN)
    http.probes = dict.fromkeys(http.probes, hang)
    one = upstream(http, keeps_last=False)
    for _ in range(12):
        await asyncio.gather(ask(one), return_exceptions=True)
    await asyncio.sleep(2)
    asked = len(http.sent)
    with pytest.raises(BrokenReply):
        await ask(one)

    assert len(http.sent) == asked
    await one.close()


async def test_a_request_without_a_good_reply_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    """In one line: what became of it at each replica."""
    caplog.set_level("INFO", "request")
    http = servers(hang, BROKEN, GOOD, GOOD)
    http.probes = dict.fromkeys(http.probes, saying(status=503))
    one = upstream(http)
    one._replicas.eject(one._replicas.all[2], "it is draining")
    with pytest.raises(DeadlineExceeded):
        await ask(one, seconds=2)

    (line,) = [record.message for record in caplog.records if record.name == "request"]
    states = ["no reply", "BrokenReply", "ejected", "not tried"]
    told = ", ".join(f"server-{number}:80 {state}" for number, state in enumerate(states))
    assert f"unit: no good reply to /search: {told}" == line
    await one.close()


async def test_every_replica_is_asked_where_all_are_meant() -> None:
    """Each once, also where one of them fails; the failure is its answer."""
    http = servers(GOOD, GOOD, GOOD)
    deadline = asyncio.get_running_loop().time() + 5
    await upstream(http).ask_all(Request("DELETE", "/cache"), deadline)
    assert sends(http) == [1, 1, 1]

    http = servers(BROKEN, GOOD, GOOD)
    answers = await upstream(http).ask_all(Request("DELETE", "/cache"), deadline)
    assert [type(answer) for answer in answers] == [BrokenReply, Reply, Reply]
    assert sends(http) == [1, 1, 1]


async def test_images_share_what_is_known_of_their_times() -> None:
    """Each route has one window of times, however many ids were looked up."""
    http = servers(saying(after_s=0.01), GOOD)
    one = upstream(http)
    for n in range(ENOUGH):
        await ask(one, Request("GET", f"/images/{n:032x}"))
    http.answers["server-0:80"] = saying(b"slow", after_s=UNKNOWN_S / 2)

    assert len(one._windows) == 1
    assert await ask(one, Request("GET", f"/images/{ENOUGH:032x}")) == b"good"


async def test_latencies_are_kept_by_route() -> None:
    """And not for each image: they would be kept for ever."""
    http = servers(GOOD, GOOD)
    one = upstream(http)
    for number in range(50):
        for method in ("GET", "PATCH", "DELETE"):
            body = with_digest(b"{}") if method == "PATCH" else None
            await ask(one, Request(method, f"/images/{number}", body, once=method != "GET"))
    await ask(one)

    assert len(one._windows) == 2
    await one.close()


async def test_a_dear_request_is_hedged_late() -> None:
    """Whatever cheaper ones of its route have taken."""
    http = servers(saying(b"slow", after_s=4), GOOD)
    one = upstream(http)

    assert await ask(one, POST._replace(hedge_after_s=5), seconds=9) == b"slow"
    assert sends(http) == [1, 0]
    assert await ask(one, POST._replace(hedge_after_s=3), seconds=9) == b"good"
    await one.close()
