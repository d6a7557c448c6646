"""The rule of what is asked again, row by row: how often each replica is sent a request."""

import asyncio

import pytest

from common.digest import content_digest
from common.errors import DeadlineExceeded, InvalidResponse, ServiceError, Unavailable
from common.http_client import BrokenReply, NotConnected, Reply, Request
from common.load_balancing import UNKNOWN_S
from tests.unit.asking import (
    BROKEN,
    GOOD,
    POST,
    REFUSED,
    ask,
    extra,
    problem,
    sends,
    servers,
    spend,
    upstream,
)
from tests.unit.fake_http import Answer, failing, hang, saying

pytestmark = pytest.mark.usefixtures("no_chance")


async def test_a_good_answer_is_asked_for_once() -> None:
    """With the time that is left for it, on a kept connection."""
    http = servers(GOOD, GOOD)

    assert await ask(upstream(http)) == b"good"
    assert sends(http) == [1, 0]
    assert http.sent[0].headers == {"X-Deadline-Ms": "5000"}
    assert not http.sent[0].new_connection


@pytest.mark.parametrize("method", ["POST", "GET"])
async def test_without_a_connection_each_replica_is_tried(method: str) -> None:
    """Nothing was sent, so it costs nothing: neither a budget nor the second try."""
    http = servers(REFUSED, REFUSED, GOOD)
    one = upstream(http)
    for why in ("retry", "hedge"):
        spend(one, why)

    assert await ask(one, Request(method, "/search")) == b"good"
    assert sends(http) == [1, 1, 1]


async def test_the_try_after_a_refused_connection_may_still_be_repeated() -> None:
    """The refused one was not sent."""
    http = servers(REFUSED, BROKEN, GOOD)

    assert await ask(upstream(http)) == b"good"
    assert sends(http) == [1, 1, 1]


@pytest.mark.parametrize("bad", [BROKEN, problem(503, "overloaded")], ids=["broken", "503"])
@pytest.mark.parametrize("replicas", [1, 2])
async def test_a_write_is_sent_to_one_replica_alone(bad: Answer, replicas: int) -> None:
    """On a new connection. What became of it is unknown: a copy could undo a later write."""
    http, once = servers(*[bad] * replicas), Request("POST", "/images", once=True)
    with pytest.raises(Unavailable):
        await ask(upstream(http), once)

    assert sum(sends(http)) == 1
    assert http.sent[0].new_connection
    refused = servers(REFUSED, GOOD)
    assert await ask(upstream(refused), once) == b"good"
    slow = servers(saying(b"slow", after_s=4), GOOD)
    assert await ask(upstream(slow), once) == b"slow"


async def test_when_no_replica_can_be_reached_that_is_told() -> None:
    """After each of them was tried once, and one of them once more."""
    http = servers(REFUSED, REFUSED)
    with pytest.raises(NotConnected):
        await ask(upstream(http))

    assert sorted(sends(http)) == [1, 2]


@pytest.mark.parametrize("lost", [REFUSED, BROKEN], ids=["refused", "broken"])
async def test_the_only_replica_in_use_is_tried_again(lost: Answer) -> None:
    """The other is restarted; on a busy machine, the wait for a connection may be too short."""
    answers = iter([lost, GOOD])
    http = servers(lambda: next(answers)(), GOOD)
    http.probes["server-1:80"] = saying(status=503)
    one = upstream(http)
    one._replicas.eject(one._replicas.all[1], "it is draining")

    assert await ask(one) == b"good"
    assert sends(http) == [2, 0]
    await one.close()


@pytest.mark.parametrize(
    "bad",
    [BROKEN, problem(503, "overloaded"), problem(500, "internal"), saying(b"odd", 502)],
    ids=["broken", "503", "500", "no problem"],
)
async def test_what_fails_is_asked_once_more_of_another_replica(bad: Answer) -> None:
    """On a connection of its own, at the cost of the retry budget."""
    http, before = servers(bad, GOOD, GOOD), extra("retry")

    assert await ask(upstream(http)) == b"good"
    assert sends(http) == [1, 1, 0]
    assert http.sent[1].new_connection
    assert extra("retry") - before == 1


async def test_what_no_replica_can_do_is_asked_once() -> None:
    """501 is an answer: the replica is fine, and another would say the same."""
    http = servers(problem(501, "not_implemented"), GOOD)
    one = upstream(http)
    with pytest.raises(ServiceError) as refused:
        await ask(one)

    assert refused.value.status == 501
    assert sends(http) == [1, 0]
    assert one._replicas.all[0].failures == 0


@pytest.mark.parametrize("bad", [BROKEN, problem(503, "overloaded")], ids=["broken", "503"])
async def test_a_request_is_never_sent_more_than_twice(bad: Answer) -> None:
    """The third replica would answer, and is not asked."""
    http = servers(bad, bad, GOOD)
    with pytest.raises(Unavailable):
        await ask(upstream(http))

    assert sends(http) == [1, 1, 0]


@pytest.mark.parametrize(
    ("bad", "count"), [(BROKEN, 2), (problem(503, "overloaded"), 1)], ids=["broken", "503"]
)
async def test_the_only_replica_is_asked_again_where_the_reply_broke_off(
    bad: Answer, count: int
) -> None:
    """What it said itself it would say again."""
    http = servers(bad)
    with pytest.raises(Unavailable):
        await ask(upstream(http))

    assert sends(http) == [count]


async def test_a_broken_get_is_asked_of_another() -> None:
    """The rule is the same for all methods."""
    http = servers(BROKEN, GOOD)

    assert await ask(upstream(http), Request("GET", "/info")) == b"good"
    assert sends(http) == [1, 1]


async def test_a_reply_that_is_not_to_be_believed_is_asked_of_another() -> None:
    """Whether the digest or the reader says so."""
    good = saying(b"good", Content_Digest=content_digest(b"good"))
    for bad in (saying(b"good"), saying(b"goof", Content_Digest=content_digest(b"good"))):
        http = servers(bad, good)
        assert await ask(upstream(http, needs_digest=True)) == b"good"
        assert sends(http) == [1, 1]

    def read(reply: Reply) -> bytes:
        if reply.body == b"odd":
            raise InvalidResponse("odd")
        return reply.body

    http = servers(saying(b"odd"), GOOD)
    deadline = asyncio.get_running_loop().time() + 5
    assert await upstream(http).ask(POST, deadline, read) == b"good"


async def test_a_version_that_one_replica_lacks_is_asked_of_another() -> None:
    """It swapped earlier, or later, than the others."""
    http = servers(problem(404, "no_such_version"), GOOD)
    one = upstream(http)

    assert await ask(one) == b"good"
    assert sends(http) == [1, 1]
    assert one._replicas.all[0].failures == 0


@pytest.mark.parametrize(
    "answer",
    [problem(400, "bad_request"), problem(404, "not_found"), problem(503, "wrong_shard")],
    ids=["400", "404", "wrong shard"],
)
async def test_what_any_replica_would_answer_is_an_answer(answer: Answer) -> None:
    """It is not asked again, and the replica is none the worse for it."""
    http = servers(answer, GOOD)
    one = upstream(http)
    with pytest.raises(ServiceError, match="told"):
        await ask(one)

    assert sends(http) == [1, 0]
    assert one._replicas.all[0].failures == 0


async def test_a_slow_replica_is_hedged_and_then_left() -> None:
    """After the p98 of the last times another is asked; who is slower counts as slow."""
    http, before = servers(hang, saying(b"good", after_s=0.05), GOOD), extra("hedge")
    one = upstream(http)
    began = asyncio.get_running_loop().time()

    assert await ask(one) == b"good"
    assert asyncio.get_running_loop().time() - began == pytest.approx(UNKNOWN_S + 0.05)
    await asyncio.sleep(0.01)
    assert sends(http) == [1, 1, 0]
    assert extra("hedge") - before == 1
    assert [replica.in_flight for replica in one._replicas.all] == [0, 0, 0]
    assert http.probed == ["server-0:80"]


async def test_a_hedge_that_fails_is_the_last_try() -> None:
    """The slow replica is waited for; a third one is not asked."""
    http = servers(saying(b"slow", after_s=2), BROKEN, GOOD)

    assert await ask(upstream(http)) == b"slow"
    assert sends(http) == [1, 1, 0]


async def test_a_slow_replica_that_fails_after_its_hedge_is_not_retried() -> None:
    """The hedge was the second try."""
    http = servers(failing(BrokenReply("broke off"), after_s=1), hang, GOOD)
    with pytest.raises(DeadlineExceeded):
        await ask(upstream(http), seconds=2)

    assert sends(http) == [1, 1, 0]


async def test_the_only_replica_is_not_hedged() -> None:
    """It would do the same work twice."""
    http = servers(saying(b"slow", after_s=2))

    assert await ask(upstream(http)) == b"slow"
    assert sends(http) == [1]
