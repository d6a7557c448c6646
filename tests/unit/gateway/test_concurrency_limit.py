"""How many requests are under way: as many as a server takes, the first to come first."""

import asyncio

from gateway.concurrency_limit import ConcurrencyLimit


async def test_the_limit_is_found_by_refusals() -> None:
    """All at once at first; then what the server takes, and one more for each round."""
    limit, refused, most = ConcurrencyLimit(), 0, 0

    async def send(place: int) -> None:
        nonlocal refused, most
        async with limit.turn(place):
            most = max(most, limit.under_way)
            if limit.under_way > 3:
                refused += 1
                limit.refused()
            else:
                await asyncio.sleep(1)
                limit.answered()

    await asyncio.gather(*map(send, range(100)))

    assert most == 4
    assert refused < 100 / 3


async def test_the_lowest_place_is_next() -> None:
    """Whoever comes again keeps its place. Who gives up, before its turn or in it, is no more."""
    limit, order, go = ConcurrencyLimit(), list[int](), asyncio.Event()

    async def send(place: int) -> None:
        async with limit.turn(place):
            order.append(place)
            limit.refused()
            await go.wait()

    going = [asyncio.create_task(send(place)) for place in (5, 4, 2, 3, 1)]
    await asyncio.sleep(0)
    going[3].cancel()
    await asyncio.sleep(0)
    go.set()
    await asyncio.gather(*going, return_exceptions=True)

    assert order == [5, 1, 2, 4]
