"""A cache on another server: it has a head start, and then what is quicker counts."""

import asyncio

import pytest

from common.errors import Unavailable
from middle.prediction_cache import (
    HEAD_START_S,
)
from tests.unit.tiers import Maker, RemoteStore, Tier


async def test_a_quick_store_spares_the_making() -> None:
    """It has a head start: nothing is made where it answers in that time."""
    store = RemoteStore(HEAD_START_S / 2)
    store.save("a", b"x")
    make = Maker()

    assert await Tier(store).get(make) == ("kept x", "hit")
    assert make.calls == 0


async def test_a_slow_store_is_not_waited_for() -> None:
    """What is made first is the answer; it has only lost the head start."""
    store = RemoteStore(60.0)
    store.save("a", b"x")
    began = asyncio.get_running_loop().time()

    assert await Tier(store).get(Maker()) == ("made 1", "miss")
    assert asyncio.get_running_loop().time() - began == pytest.approx(1 + HEAD_START_S)


async def test_a_store_that_is_quicker_than_the_making_wins() -> None:
    """The making is given up."""
    store = RemoteStore(0.5)
    store.save("a", b"x")
    make = Maker()

    assert await Tier(store).get(make) == ("kept x", "hit")
    await asyncio.sleep(0)
    assert (make.calls, make.cancelled) == (1, 1)


async def test_what_takes_seconds_to_make_waits_for_the_store() -> None:
    """Without a limit of the head start, nothing is made beside a look-up that finds it."""
    store, make = RemoteStore(0.2), Maker()
    store.save("a", b"x")
    slow = Tier(store, head_start_s=None)

    assert await slow.get(make) == ("kept x", "hit")
    assert make.calls == 0
    store.entries.clear()
    assert await slow.get(make) == ("made 1", "miss")


async def test_a_slow_store_without_the_entry_changes_nothing() -> None:
    """The making goes on."""
    assert await Tier(RemoteStore(0.5)).get(Maker()) == ("made 1", "miss")


async def test_a_making_that_fails_at_once_still_waits_for_the_store() -> None:
    """What is kept answers while the servers behind are gone."""
    store = RemoteStore(HEAD_START_S * 4)
    store.save("a", b"x")
    failing = Maker(0, Unavailable("no"))

    assert await Tier(store).get(failing) == ("kept x", "hit")
    store.entries.clear()
    with pytest.raises(Unavailable):
        await Tier(store).get(failing)
