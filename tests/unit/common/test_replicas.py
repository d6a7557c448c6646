"""The replicas of a service: the quicker is asked, and one that fails is ejected for a while."""

import asyncio

import pytest

from common.errors import InvalidResponse, ServiceError, Unavailable
from common.http_client import BrokenReply, NotConnected
from common.replicas import MAX_FAILURES, PENALTY_S, Replica, ReplicaSet
from tests.unit.counting import counted
from tests.unit.fake_http import FakeHttp, failing, saying

DOWN = failing(NotConnected("down"))


def replica_set(http: FakeHttp, keeps_last: bool = True) -> ReplicaSet:
    return ReplicaSet("unit", list(http.answers), http.client, "/ready", keeps_last=keeps_last)


def servers(count: int) -> FakeHttp:
    return FakeHttp({f"server-{n}:80": saying() for n in range(count)})


def fail(replicas: ReplicaSet, replica: Replica, times: int = MAX_FAILURES) -> None:
    for _ in range(times):
        replicas.failed(replica, "unreachable", BrokenReply("broke off"))


def is_out(number: int) -> float:
    return counted("clip_search_replica_out", server="unit", replica=str(number))


async def test_the_quicker_of_two_is_chosen() -> None:
    """By how long they took just now, times what they have in hand."""
    replicas = replica_set(servers(2))
    slow, quick = replicas.all
    replicas.answered(slow, 0.3)
    replicas.answered(quick, 0.1)

    assert {replicas.choose([]) for _ in range(50)} == {quick}
    quick.in_flight = 5
    assert {replicas.choose([]) for _ in range(50)} == {slow}


async def test_the_slowest_of_many_is_never_chosen_but_the_others_are() -> None:
    """The better of two that were drawn: so not all clients run to the same replica."""
    replicas = replica_set(servers(4))
    for replica, took_s in zip(replicas.all, (0.1, 0.2, 0.3, 0.4), strict=True):
        replicas.answered(replica, took_s)

    chosen = {replicas.choose([]) for _ in range(300)}
    assert chosen == set(replicas.all[:3])


async def test_those_that_were_tried_are_not_chosen() -> None:
    """None when no other is left."""
    replicas = replica_set(servers(2))
    first, second = replicas.all

    assert replicas.choose([first]) is second
    assert replicas.choose([first, second]) is None


async def test_failures_in_a_row_eject_a_replica() -> None:
    """The fifth does; an answer between them starts the count anew."""
    http = servers(2)
    http.probes["server-0:80"] = DOWN
    replicas = replica_set(http)
    bad, good = replicas.all
    fail(replicas, bad, MAX_FAILURES - 1)
    replicas.answered(bad, 0.1)
    fail(replicas, bad, MAX_FAILURES - 1)
    assert not bad.is_ejected
    fail(replicas, bad, 1)

    assert bad.is_ejected
    assert replicas.choose([]) is good
    assert is_out(0) == 1
    await replicas.close()


@pytest.mark.parametrize("keeps_last", [True, False])
async def test_the_last_replica_is_not_ejected_by_failures(keeps_last: bool) -> None:
    """It may answer the next request, and nobody else can."""
    http = servers(2)
    http.probes = dict.fromkeys(http.probes, saying(status=503))
    replicas = replica_set(http, keeps_last)
    for replica in replicas.all:
        fail(replicas, replica)
    await asyncio.sleep(10)

    assert [one.is_ejected for one in replicas.all] == [True, False]
    await replicas.close()


async def test_a_replica_of_another_version_has_not_failed() -> None:
    """It answers queries for the version that it holds."""
    replicas = replica_set(servers(2))
    for _ in range(2 * MAX_FAILURES):
        replicas.failed(replicas.all[0], "other-version", ServiceError("no_such_version"))

    assert replicas.all[0].failures == 0
    assert not replicas.all[0].is_ejected


async def test_who_is_behind_does_not_seem_quick() -> None:
    """It refuses at once, again and again, where another has what is asked for."""
    replicas = replica_set(servers(2))
    first = replicas.all[0]
    replicas.failed(first, "other-version", Unavailable("behind", "behind"))

    assert first.latency.estimate_s(asyncio.get_running_loop().time()) == PENALTY_S
    assert (first.failures, first.is_ejected) == (0, False)


async def test_who_loses_a_hedge_counts_as_slower_and_is_probed() -> None:
    """Nobody knows how long it would have taken: twice what was expected, or what it had."""
    http = servers(2)
    replicas = replica_set(http)
    loser = replicas.all[0]
    replicas.answered(loser, 0.4)
    now = asyncio.get_running_loop().time()
    replicas.lost_hedge(loser, 0.1)
    assert loser.latency.estimate_s(now) == pytest.approx(0.8)
    replicas.lost_hedge(loser, 3.0)
    assert loser.latency.estimate_s(now) == pytest.approx(3.0)
    await asyncio.sleep(0.1)

    assert http.probed == ["server-0:80"]


async def test_lost_hedges_count_no_more_than_a_failure() -> None:
    """Twenty doublings would keep a replica unasked long after it is well again."""
    http = servers(2)
    replicas = replica_set(http)
    for _ in range(20):
        replicas.lost_hedge(replicas.all[0], 0.1)

    assert replicas.all[0].latency.estimate_s(asyncio.get_running_loop().time()) <= PENALTY_S


async def test_why_no_replica_is_left_is_told_anew_each_time() -> None:
    """An error that is raised twice would keep all that it passed through."""
    replicas = replica_set(servers(2))
    replicas.failed(replicas.all[0], "garbled", InvalidResponse("odd"))
    one, other = replicas.last_failure(), replicas.last_failure()

    assert one is not other
    assert (type(one), one.detail, one.code, one.status) == (InvalidResponse, "odd", "garbled", 503)
