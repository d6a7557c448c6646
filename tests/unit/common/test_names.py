"""Names are asked for in the background: what was known last goes on, and nobody waits long."""

import asyncio
import logging
from collections.abc import Sequence

import pytest

from common.http_client import NotConnected
from common.names import AGAIN_S, EVERY_S, FIRST_S, Names, Target, Targets
from common.replicas import ReplicaSet
from common.upstream import Upstream
from tests.unit.asking import GOOD, POST
from tests.unit.fake_http import FakeHttp, failing, saying


class NameServer:
    """Tells the addresses of each name; nothing while it is silent."""

    def __init__(self, **addresses: Sequence[str]) -> None:
        self.addresses = addresses
        self.is_silent = False
        self.asked = 0

    async def resolve(self, name: str) -> Sequence[str]:
        self.asked += 1
        if self.is_silent:
            await asyncio.sleep(10)
            raise OSError(None, "nobody answers")
        if not self.addresses.get(name):
            raise OSError(None, f"{name} is unknown")
        return self.addresses[name]


def served(server: NameServer, *addresses: str) -> FakeHttp:
    """Servers at these addresses, whose names a name server tells."""
    http = FakeHttp({f"{address}:80": GOOD for address in addresses})
    http.names = Names(server.resolve)
    return http


async def ask(upstream: Upstream, seconds: float = 2.0) -> bytes:
    deadline = asyncio.get_running_loop().time() + seconds
    return await upstream.ask(POST, deadline, lambda reply: reply.body)


async def test_a_name_is_followed_and_keeps_its_last_addresses() -> None:
    """What has changed is known after EVERY_S; a silent name server changes nothing."""
    server = NameServer(middle=["10.0.0.1"])
    names = Names(server.resolve)
    assert ("10.0.0.1",) == await names.first("middle")
    server.addresses["middle"] = ["10.0.0.2", "10.0.0.3", "10.0.0.2"]
    assert ("10.0.0.1",) == names.addresses("middle")
    await asyncio.sleep(EVERY_S + 0.1)
    assert ("10.0.0.2", "10.0.0.3") == names.addresses("middle")
    server.is_silent = True
    await asyncio.sleep(60)
    began = asyncio.get_running_loop().time()
    assert ("10.0.0.2", "10.0.0.3") == await names.first("middle")
    assert asyncio.get_running_loop().time() == began
    assert 2 == names.changes
    await names.close()


async def test_the_first_answer_is_waited_for_a_short_time() -> None:
    """Once: who asks later than FIRST_S after the start is told at once that nothing is known."""
    server = NameServer()
    server.is_silent = True
    names = Names(server.resolve)
    loop = asyncio.get_running_loop()
    began = loop.time()
    assert () == await names.first("middle")
    assert loop.time() - began == pytest.approx(FIRST_S)
    assert () == await names.first("middle")
    assert loop.time() - began == pytest.approx(FIRST_S)
    await names.close()


async def test_a_name_without_addresses_is_asked_for_more_often(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Its servers may be starting; the log says once that it has none."""
    server = NameServer()
    names = Names(server.resolve)
    with caplog.at_level(logging.WARNING):
        assert () == await names.first("middle")
        await asyncio.sleep(3 * AGAIN_S)
    server.addresses["middle"] = ["10.0.0.1"]
    await asyncio.sleep(AGAIN_S)

    assert ("10.0.0.1",) == names.addresses("middle")
    assert ["no addresses of a name: [Errno None] middle is unknown; the last ones stay: none"] == [
        record.getMessage().removesuffix(" are known") for record in caplog.records
    ]
    await names.close()


async def test_each_address_of_a_name_is_a_replica() -> None:
    """Those that stay keep what is known of them; an address that has left is asked no more."""
    server = NameServer(middle=["10.0.0.1", "10.0.0.2"])
    http = served(server, "10.0.0.1", "10.0.0.2", "10.0.0.3", "10.0.0.9")
    replicas = ReplicaSet(
        "unit", ["10.0.0.9:80", "dns:middle:80"], http.client, "/ready", keeps_last=True
    )
    assert ["10.0.0.9:80"] == [one.address for one in replicas.all]
    await replicas.wait()
    fixed, first, second = replicas.all
    assert [0, 1, 2] == [one.number for one in replicas.all]
    assert Target("10.0.0.2:80", "middle") == second.target
    server.addresses["middle"] = ["10.0.0.3", "10.0.0.2"]
    await asyncio.sleep(EVERY_S + 0.1)

    assert {fixed, second} < set(replicas.all)
    assert first not in replicas.all
    assert [0, 1, 2] == [one.number for one in replicas.all]
    assert first not in {replicas.choose([]) for _ in range(100)}
    await http.names.close()


async def test_an_ejected_replica_that_leaves_its_name_is_forgotten() -> None:
    """It is probed no more, and counted no more as ejected."""
    server = NameServer(middle=["10.0.0.1", "10.0.0.2"])
    http = served(server, "10.0.0.1", "10.0.0.2")
    http.probes["10.0.0.1:80"] = saying(status=503)
    replicas = ReplicaSet("unit", ["dns:middle:80"], http.client, "/ready", keeps_last=True)
    assert [] == replicas.all
    await replicas.wait()
    gone = replicas.all[0]
    replicas.eject(gone, "it is draining")
    server.addresses["middle"] = ["10.0.0.2"]
    await asyncio.sleep(EVERY_S + 1)
    http.probed.clear()
    await asyncio.sleep(5)

    assert not gone.is_ejected
    assert [] == http.probed
    await replicas.close()
    await http.names.close()


async def test_a_query_waits_for_no_name_server() -> None:
    """While it is silent, the servers that were known answer at once."""
    server = NameServer(middle=["10.0.0.1"])
    http = served(server, "10.0.0.1")
    upstream = Upstream("unit", ["dns:middle:80"], http.client)
    assert b"good" == await ask(upstream)
    server.is_silent = True
    await asyncio.sleep(60)
    began = asyncio.get_running_loop().time()
    assert b"good" == await ask(upstream)

    assert began == asyncio.get_running_loop().time()
    assert "middle" == http.sent[-1].tls_name
    await upstream.close()
    await http.names.close()


async def test_without_an_address_a_query_fails_in_time() -> None:
    """At the start after FIRST_S or at the deadline, later at once."""
    server = NameServer()
    server.is_silent = True
    http = served(server)
    upstream = Upstream("unit", ["dns:middle:80"], http.client)
    began = asyncio.get_running_loop().time()
    for seconds, took_s in ((0.3, 0.3), (5, FIRST_S), (5, FIRST_S)):
        with pytest.raises(Exception, match=r"down|deadline"):
            await ask(upstream, seconds)
        assert asyncio.get_running_loop().time() - began == pytest.approx(took_s)
    await http.names.close()


async def test_targets_of_plain_addresses_need_no_names() -> None:
    """They are asked by their host, whose certificate is checked."""
    targets = Targets(["a:1", "b:2", "a:1"], Names())

    assert [Target("a:1"), Target("b:2")] == targets.all()
    assert 0 == targets.changes


async def test_a_replica_that_refuses_is_not_the_last_word() -> None:
    """Another address of the same name is asked."""
    server = NameServer(middle=["10.0.0.1", "10.0.0.2"])
    http = served(server, "10.0.0.1", "10.0.0.2")
    http.answers["10.0.0.1:80"] = failing(NotConnected("refused"))
    upstream = Upstream("unit", ["dns:middle:80"], http.client)

    assert {b"good"} == {await ask(upstream) for _ in range(5)}
    await upstream.close()
    await http.names.close()
