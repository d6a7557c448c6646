"""The prediction cache in a real Redis server, and that no fault of it changes an answer."""

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from devtools.collection import Collection
from devtools.services import Cluster, Service, free_ports, hanging, wait_until
from middle.redis_store import add_checksum, checked_value
from tests.cache_probe import ask, caching, embedded, fresh, hits, outcome
from tests.redis_server import RedisServer, redis_server

TEXTS = ["a red square", "the blue photo", "green"]


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[RedisServer]:
    """An empty redis-server."""
    with redis_server(tmp_path) as server:
        yield server


@pytest.fixture
def serve(services: Cluster, collection: Collection) -> Any:
    """Starts a middle whose cache is in Redis."""
    return lambda url, **keys: caching(services, collection.folder, cache=url, **keys)


def fill(middle: Service, redis: RedisServer) -> list[Any]:
    """The hits of TEXTS, once all of them are kept."""
    found = [hits(ask(middle, text=text)) for text in TEXTS]
    for text in TEXTS:
        wait_until(partial(is_hit, middle, text))
    assert len(redis.names()) >= 2 * len(TEXTS)
    return found


def is_hit(middle: Service, text: str) -> bool:
    return "hit" == outcome(ask(middle, text=text))


def answers(middle: Service) -> list[Any]:
    """The hits of TEXTS, each of which must be answered whole."""
    replies = [ask(middle, text=text) for text in TEXTS]
    assert [200] * len(TEXTS) == [reply.status for reply in replies]
    return [hits(reply) for reply in replies]


def test_two_middle_servers_share_what_is_kept(
    services: Cluster, collection: Collection, redis: RedisServer, serve: Any
) -> None:
    """What one of them made the other has, also after both were started anew; till a purge."""
    with serve(redis.url) as one:
        found = fill(one, redis)
        assert found == [hits(fresh(one, text=text)) for text in TEXTS]
    with serve(redis.url) as other:
        count = embedded(services.inference)
        for text, expected in zip(TEXTS, found, strict=True):
            wait_until(partial(is_hit, other, text))  # a busy Redis may lose against the model
            assert expected == hits(ask(other, text=text))
        assert embedded(services.inference) - count <= len(TEXTS)
        with redis.client as client:
            client.set("another's", "value")
        assert 204 == other.request("DELETE", "/cache").status
        assert [] == redis.names()
        assert "miss" == outcome(ask(other, text=TEXTS[0]))
        with redis.client as client:
            assert b"value" == client.get("another's")


@pytest.mark.parametrize("policy", ["idle", "absolute", "lru"])
def test_the_policy_is_the_server_s_expiry(redis: RedisServer, serve: Any, policy: str) -> None:
    """Idle renews an entry's time to live at each use, absolute does not, lru sets none."""
    with serve(redis.url, cache_policy=policy, cache_expiry_s=1000) as middle:
        ask(middle, text="red")
        wait_until(lambda: "hit" == outcome(ask(middle, text="red")))
        with redis.client as client:
            names = [name for name in redis.names() if b"result" in name]
            assert (policy == "lru") == ({-1} == {client.ttl(name) for name in names})
            for name in names:
                client.expire(name, 500)
            wait_until(partial(is_hit, middle, "red"))
            longest = max(client.ttl(name) for name in names)
    assert (policy == "idle") == (longest > 500)


def flushed(redis: RedisServer) -> None:
    with redis.client as client:
        client.flushall()


def full(redis: RedisServer) -> None:
    with redis.client as client:
        client.config_set("maxmemory-policy", "noeviction")
        client.config_set("maxmemory", "1")


def junk(redis: RedisServer) -> None:
    with redis.client as client:
        for number, name in enumerate(redis.names()):
            values = (b"junk", b"", bytes(100), client.get(name)[:-1] + b"x")
            client.set(name, values[number % len(values)])


def swapped(redis: RedisServer) -> None:
    with redis.client as client:
        names = sorted(name for name in redis.names() if b"result" in name)
        values = [client.get(name) for name in names]
        for name, value in zip(names, values[1:] + values[:1], strict=True):
            client.set(name, value)


def lists(redis: RedisServer) -> None:
    with redis.client as client:
        for name in redis.names():
            client.delete(name)
            client.rpush(name, "no string")


def killed(redis: RedisServer) -> None:
    redis.process.kill()
    redis.process.wait()


@pytest.mark.parametrize("spoil", [flushed, full, junk, swapped, lists, killed])
@pytest.mark.parametrize("policy", ["idle", "absolute"])
def test_no_fault_of_the_cache_changes_an_answer(
    redis: RedisServer, serve: Any, spoil: Callable[[RedisServer], None], policy: str
) -> None:
    """Emptied, full, dead, or with junk in every key: the same hits, and what is junk is a miss."""
    with serve(redis.url, cache_policy=policy) as middle:
        expected = fill(middle, redis)
        spoil(redis)
        outcomes = {outcome(ask(middle, text=text)) for text in TEXTS}
        assert expected == answers(middle) == answers(middle)
        assert spoil is full or {"miss"} == outcomes
        assert 10 == len(hits(ask(middle, text="a photo of the square")))
        if spoil in (flushed, junk, swapped, lists):
            assert expected == fill(middle, redis)


def test_a_hung_cache_server_is_left_alone(redis: RedisServer, serve: Any) -> None:
    """SIGSTOP: queries are answered by the model, and by the cache again when it goes on."""
    with serve(redis.url, deadline_ms=5000) as middle:
        expected = fill(middle, redis)
        with hanging(redis):
            assert expected == answers(middle) == answers(middle)
            assert 503 == middle.request("DELETE", "/cache").status
        wait_until(lambda: "hit" == outcome(ask(middle, text=TEXTS[0])))
        assert expected == answers(middle)


def test_a_cache_server_may_come_late(tmp_path: Path, serve: Any) -> None:
    """Down when middle starts: queries are answered, and kept once it is there."""
    (port,) = free_ports(1)
    with serve(f"redis://127.0.0.1:{port}") as middle:
        expected = answers(middle)
        assert 503 == middle.request("DELETE", "/cache").status
        with redis_server(tmp_path, port) as redis:
            # of a text of its own: the pause may end between its embedding and its answer
            wait_until(lambda: "hit" == outcome(ask(middle, text="a yellow square")))
            assert expected == fill(middle, redis)


def test_only_what_was_sealed_for_a_key_is_its_value() -> None:
    """Any byte changed, cut or added makes it none; so does the value of another key."""
    stored = add_checksum("key", b"value")
    entry = checked_value("key", stored)

    assert entry is not None
    assert (b"value", True) == (entry.value, 0 <= entry.age_s < 60)
    spoilt = [stored[:i] + bytes([stored[i] ^ 1]) + stored[i + 1 :] for i in range(len(stored))]
    for other in (*spoilt, stored[:-1], stored + b"x", b"", None, 5):
        assert checked_value("key", other) is None
    assert checked_value("other", stored) is None
