"""The cache in a process's memory: how long it keeps what, and how much."""

import pytest

from common.cache_epoch import CacheEpoch
from common.config import Middle
from devtools.fake_clock import FakeClock
from middle.memory_store import ENTRY_BYTES, RENEWAL, MemoryStore
from tests.unit.counting import counted

EXPIRY_S = 640.0


class Kept:
    """A store with a clock, and one entry in it."""

    def __init__(self, **settings: object) -> None:
        self.clock = FakeClock()
        self.epoch = CacheEpoch()
        middle = Middle(**{"cache_expiry_s": EXPIRY_S, **settings})  # type: ignore[arg-type]
        self.store = MemoryStore(middle, self.epoch, self.clock)
        self.store.save("a", b"value")

    def has(self, key: str = "a") -> bool:
        return self.store.peek(key) is not None

    def is_there_after(self, seconds: float) -> bool:
        self.clock.advance(seconds)
        return self.has()


def test_an_entry_tells_its_age() -> None:
    """Since it was made; being found does not make it younger."""
    kept = Kept()
    for _ in range(3):
        kept.clock.advance(100)
        kept.has()
    found = kept.store.peek("a")

    assert found is not None
    assert found == (b"value", 300.0)


def test_an_idle_entry_expires_after_its_last_use() -> None:
    """While it is used it stays."""
    kept = Kept(cache_policy="idle")
    for _ in range(10):
        assert kept.is_there_after(EXPIRY_S - 1)

    assert not kept.is_there_after(EXPIRY_S * (1 + RENEWAL) + 1)


def test_an_idle_entry_lives_as_long_as_is_told_since_any_use() -> None:
    """Also where the use was too soon to be noted."""
    kept = Kept(cache_policy="idle")
    assert kept.is_there_after(EXPIRY_S * RENEWAL / 2)
    assert kept.is_there_after(EXPIRY_S - 1)


def test_an_absolute_entry_expires_since_it_was_made() -> None:
    """However often it is used."""
    kept = Kept(cache_policy="absolute")
    for _ in range(9):
        assert kept.is_there_after(EXPIRY_S / 10)

    assert not kept.is_there_after(EXPIRY_S / 10)


def test_an_lru_entry_never_expires() -> None:
    """It makes room for others only."""
    assert Kept(cache_policy="lru").is_there_after(1000 * EXPIRY_S)


def test_what_was_not_used_for_longest_makes_room() -> None:
    """And is counted; all entries together stay under the limit."""
    before = counted("clip_search_cache_evictions_total")
    size = ENTRY_BYTES + len(b"value")
    kept = Kept(cache_policy="lru", cache_bytes=3 * size)
    kept.store.save("b", b"value")
    kept.store.save("c", b"value")
    kept.has("a")
    kept.store.save("d", b"value")

    assert [kept.has(key) for key in "abcd"] == [True, False, True, True]
    assert counted("clip_search_cache_evictions_total") - before == 1
    assert counted("clip_search_cache_bytes", store="answers") == 3 * size


def test_a_value_larger_than_all_there_may_be_is_not_kept() -> None:
    """And nothing makes room for it."""
    kept = Kept(cache_bytes=2000)
    kept.store.save("b", b"x" * 2000)

    assert kept.has("a")
    assert not kept.has("b")


def test_entries_go_when_another_worker_was_told_to_purge() -> None:
    """By the mark that all of them share; what is kept later stays."""
    kept = Kept()
    kept.epoch.change()
    assert not kept.has()
    kept.store.save("a", b"new")
    assert kept.has()


async def test_a_purge_forgets_everything() -> None:
    """And finding is peeking: there is no server to ask."""
    kept = Kept()
    assert await kept.store.find("a") == (b"value", 0.0)
    await kept.store.purge(0.0)
    assert await kept.store.find("a") is None
    assert not kept.store.is_remote
    await kept.store.close()


@pytest.mark.parametrize("policy", ["idle", "absolute", "lru"])
def test_keeping_again_makes_an_entry_young(policy: str) -> None:
    """It is another value, made just now."""
    kept = Kept(cache_policy=policy)
    kept.clock.advance(EXPIRY_S - 1)
    kept.store.save("a", b"other")
    kept.clock.advance(EXPIRY_S - 1)

    assert kept.store.peek("a") == (b"other", EXPIRY_S - 1)
