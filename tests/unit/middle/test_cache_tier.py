"""A tier of the prediction cache: found, or made once for all who ask, and kept where it may be."""

import asyncio

import pytest

from common.cache_epoch import CacheEpoch
from common.config import Middle
from common.errors import DeadlineExceeded, Unavailable
from middle.prediction_cache import (
    JOIN_GRACE_S,
    PredictionCache,
)
from tests.unit.tiers import Maker, RemoteStore, Tier, outcomes, read


async def test_what_is_missing_is_made_and_then_found() -> None:
    """The second query asks nobody."""
    tier, make, before = Tier(), Maker(), outcomes()

    assert await tier.get(make) == ("made 1", "miss")
    assert await tier.get(make) == ("kept made 1", "hit")
    assert tier.tier.peek("a") == "kept made 1"
    after = outcomes()
    assert {name: after[name] - before[name] for name in after} == {
        "hit": 2,
        "miss": 1,
        "join": 0,
        "bypass": 0,
    }


async def test_who_asks_meanwhile_joins() -> None:
    """It is made once for all of them."""
    tier, make = Tier(), Maker()
    results = await asyncio.gather(*(tier.get(make) for _ in range(5)))

    assert results == [("made 1", "miss")] + [("made 1", "join")] * 4


async def test_who_gives_up_ends_no_other_s_query() -> None:
    """Neither by its deadline nor by closing its connection; what was made is kept."""
    tier, make = Tier(), Maker()
    gone, hasty, patient = (
        asyncio.ensure_future(tier.get(make, seconds)) for seconds in (5.0, 0.5, 5.0)
    )
    await asyncio.sleep(0.25)
    gone.cancel()

    with pytest.raises(DeadlineExceeded):
        await hasty
    assert await patient == ("made 1", "join")
    assert tier.tier.peek("a") == "kept made 1"


async def test_who_joins_with_more_time_does_not_share_the_first_one_s_deadline() -> None:
    """It is made again, once for all who still have time, and kept."""
    tier = Tier()
    first = asyncio.ensure_future(tier.get(Maker(2.0, DeadlineExceeded("late")), seconds=2.0))
    await asyncio.sleep(0.25)
    make = Maker()
    others = await asyncio.gather(*(tier.get(make, seconds=3.5) for _ in range(3)))

    with pytest.raises(DeadlineExceeded):
        await first
    assert [result for result, _ in others] == ["made 1"] * 3
    assert make.calls == 1
    assert tier.tier.peek("a") == "kept made 1"


async def test_who_has_far_more_time_does_not_join() -> None:
    """What the first one has at its deadline may lack what a little more time would have given."""
    tier = Tier()
    first = asyncio.ensure_future(tier.get(Maker(after_s=0.03), seconds=0.03))
    await asyncio.sleep(0.01)

    assert await tier.get(Maker(), seconds=2.0) == ("made 1", "miss")
    assert await first == ("made 1", "miss")


async def test_who_joins_with_as_much_time_has_what_there_is_at_the_deadline() -> None:
    """A making that ends at its deadline ends a little after that of who asked just before."""
    tier, make = Tier(), Maker(after_s=1.0)
    first = asyncio.ensure_future(tier.get(make, seconds=1.0))
    joined = asyncio.ensure_future(tier.get(make, seconds=1.0 - JOIN_GRACE_S / 2))

    assert [*await asyncio.gather(first, joined)] == [("made 1", "miss"), ("made 1", "join")]


async def test_who_joins_shares_other_failures() -> None:
    """They would meet it again."""
    tier, make = Tier(), Maker(error=Unavailable("no"))
    results = await asyncio.gather(*(tier.get(make) for _ in range(2)), return_exceptions=True)

    assert [str(one) for one in results] == ["no", "no"]
    assert make.calls == 1


async def test_a_failure_is_not_kept() -> None:
    """The next query makes it anew."""
    tier = Tier()
    with pytest.raises(Unavailable):
        await tier.get(Maker(error=Unavailable("no")))

    assert await tier.get(Maker()) == ("made 1", "miss")


async def test_a_bypass_is_made_anew_and_kept() -> None:
    """It neither reads what is kept nor joins, but the next query finds it."""
    tier, make = Tier(), Maker()
    await tier.get(make)

    assert await tier.get(make, bypass=True) == ("made 2", "bypass")
    assert await tier.get(make) == ("kept made 2", "hit")


@pytest.mark.parametrize("bypass", [False, True])
async def test_what_was_begun_before_a_purge_is_not_kept(bypass: bool) -> None:
    """It may be of what the purge was for."""
    tier, make = Tier(), Maker()
    making = asyncio.ensure_future(tier.get(make, bypass=bypass))
    await asyncio.sleep(0.5)
    tier.epoch.change()
    await making

    assert tier.tier.peek("a") is None


@pytest.mark.parametrize("broken", [b"bad", b"\xff\xfe"], ids=["other rows", "no UTF-8"])
async def test_a_broken_entry_is_a_miss(broken: bytes) -> None:
    """It is made anew, and the broken one replaced; in memory as on a server."""
    for store in (None, RemoteStore()):
        tier = Tier(store)
        tier.store.save("a", broken)

        assert await tier.get(Maker()) == ("made 1", "miss")
        assert (await tier.get(Maker()))[1] == "hit"


async def test_a_result_that_must_not_be_kept_is_not() -> None:
    """As a degraded answer."""
    tier = Tier()
    deadline = asyncio.get_running_loop().time() + 10
    result = await tier.tier.get("a", Maker(), lambda _result: None, deadline, bypass=False)

    assert result == ("made 1", "miss")
    assert tier.tier.peek("a") is None


async def test_a_purge_reaches_the_store_and_what_is_under_way() -> None:
    """Also where there is no cache at all."""
    deadline = asyncio.get_running_loop().time() + 1
    epoch = CacheEpoch()
    cache = PredictionCache(Middle(), epoch)
    tier = cache.tier("unit", read)
    assert tier is not None
    make = Maker()
    await tier.get("a", make, str.encode, deadline + 9, bypass=False)
    before = epoch.read()
    await cache.purge(deadline)
    await cache.close()

    assert tier.peek("a") is None
    assert epoch.read() != before
    off = PredictionCache(Middle(cache="off"), epoch)
    assert off.tier("unit", read) is None
    await off.purge(deadline)
    await off.close()
