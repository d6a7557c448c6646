"""What failed is probed until it is ready; who is silent is ejected, and readmitted."""

import asyncio

import pytest

from common.errors import DeadlineExceeded
from common.replicas import MAX_FAILURES, PROBE_EVERY_S, PROBE_S
from tests.unit.common.test_replicas import DOWN, fail, is_out, replica_set, servers
from tests.unit.fake_http import failing, hang, saying


async def test_a_late_replica_is_probed_and_not_blamed() -> None:
    """Perhaps it was given too little time; where it answers the probe, it stays."""
    http = servers(2)
    replicas = replica_set(http)
    for _ in range(2 * MAX_FAILURES):
        replicas.failed(replicas.all[0], "late", DeadlineExceeded("late"))
    await asyncio.sleep(1)

    assert http.probed == ["server-0:80"]
    assert not replicas.all[0].is_ejected


async def test_a_silent_replica_is_ejected_and_readmitted_when_it_is_ready() -> None:
    """It is probed until it answers; then nothing of before is held against it."""
    http = servers(2)
    http.probes["server-0:80"] = hang
    replicas = replica_set(http)
    silent = replicas.all[0]
    replicas.failed(silent, "late", DeadlineExceeded("late"))
    await asyncio.sleep(PROBE_S + 0.1)
    assert silent.is_ejected

    http.probes["server-0:80"] = saying(status=503)  # it starts
    await asyncio.sleep(10)
    assert silent.is_ejected
    http.probes["server-0:80"] = saying()
    await asyncio.sleep(PROBE_S + PROBE_EVERY_S)
    assert not silent.is_ejected
    assert is_out(0) == 0
    assert silent.failures == 0
    assert silent.latency.estimate_s(asyncio.get_running_loop().time()) == 0


async def test_a_lost_probe_does_not_eject_a_replica_that_answers() -> None:
    """It was sent while the replica was starting; the other may be stopping now."""
    http = servers(2)
    http.probes = dict.fromkeys(http.probes, hang)
    replicas = replica_set(http, keeps_last=False)
    started = replicas.all[0]
    replicas.failed(started, "late", DeadlineExceeded("late"))
    await asyncio.sleep(PROBE_S / 2)
    replicas.eject(replicas.all[1], "it is draining")
    replicas.answered(started, 0.01)
    await asyncio.sleep(PROBE_S)
    assert replicas.choose([]) is started

    await asyncio.sleep(PROBE_S)  # the next one is silent too, and no answer came meanwhile
    assert started.is_ejected
    await replicas.close()


@pytest.mark.parametrize("keeps_last", [True, False])
async def test_the_last_replica_is_ejected_by_silence_where_that_is_allowed(
    keeps_last: bool,
) -> None:
    """With others that hold other shards, nobody waits for it; alone it is waited for."""
    http = servers(1)
    http.probes["server-0:80"] = hang
    replicas = replica_set(http, keeps_last)
    replicas.failed(replicas.all[0], "late", DeadlineExceeded("late"))
    await asyncio.sleep(PROBE_S + 0.1)

    assert replicas.all[0].is_ejected != keeps_last
    assert (replicas.choose([]) is not None) == keeps_last
    await replicas.close()


async def test_a_replica_that_cannot_be_reached_once_comes_back_as_quick_as_it_was() -> None:
    """A probe finds it gone, and ready again: the failure is not held against it."""
    http = servers(2)
    replicas = replica_set(http)
    gone, other = replicas.all
    replicas.answered(other, 0.005)
    http.probes[gone.address] = DOWN
    fail(replicas, gone, times=1)
    await asyncio.sleep(PROBE_S)
    assert gone.is_ejected

    http.probes[gone.address] = saying()
    await asyncio.sleep(2 * PROBE_EVERY_S)
    assert not gone.is_ejected
    assert replicas.choose([]) is gone
    await replicas.close()


async def test_a_replica_is_probed_once_at_a_time() -> None:
    """However many requests fail: every half second is enough."""
    http = servers(2)
    http.probes["server-0:80"] = DOWN
    replicas = replica_set(http)
    fail(replicas, replicas.all[0], 100)
    await asyncio.sleep(10 * PROBE_EVERY_S - 0.1)

    assert len(http.probed) == 10
    await replicas.close()


async def test_probing_goes_on_after_an_unforeseen_error() -> None:
    """Else the replica would stay ejected for ever."""
    http = servers(2)
    http.probes["server-0:80"] = failing(ValueError("odd"))
    replicas = replica_set(http)
    odd, _ = replicas.all
    fail(replicas, odd)
    await asyncio.sleep(2 * PROBE_EVERY_S)
    assert odd.is_ejected
    http.probes["server-0:80"] = saying()
    await asyncio.sleep(2 * PROBE_EVERY_S)

    assert not odd.is_ejected
    await replicas.close()


async def test_closing_ends_the_probes() -> None:
    """Nothing is asked any more."""
    http = servers(2)
    http.probes["server-0:80"] = DOWN
    replicas = replica_set(http)
    fail(replicas, replicas.all[0])
    await asyncio.sleep(1)
    await replicas.close()
    asked = len(http.probed)
    await asyncio.sleep(10)

    assert len(http.probed) == asked
