"""Rooms: bounded, in the order of coming, and left by those who give up."""

import asyncio

import pytest

from gateway.room import Room, enter_all


async def test_nobody_passes_those_who_wait() -> None:
    """A small request does not starve a large one that came before it."""
    room, order = Room(10), []

    async def come(name: str, size: int) -> None:
        await room.enter(size)
        order.append(name)

    await come("first", 8)
    large, small = asyncio.create_task(come("large", 9)), asyncio.create_task(come("small", 1))
    await asyncio.sleep(0.1)
    assert order == ["first"]
    room.leave(8)
    await asyncio.gather(large, small)

    assert order == ["first", "large", "small"]
    assert room.taken == 10


async def test_what_is_larger_than_the_room_goes_alone() -> None:
    """It waits until nothing is in hand, and takes all of the room."""
    room = Room(10)
    await room.enter(1)
    huge = asyncio.create_task(room.enter(1000))
    await asyncio.sleep(0.1)
    assert not huge.done()
    room.leave(1)
    await huge

    assert room.taken == 10
    room.leave(1000)
    assert room.taken == 0


async def test_who_gives_up_lets_the_next_one_in() -> None:
    """Whether it waited still, or its turn had come in the same moment."""
    room = Room(1)
    await room.enter(1)
    gone, late, last = (asyncio.create_task(room.enter(1)) for _ in range(3))
    await asyncio.sleep(0.1)
    gone.cancel()
    room.leave(1)  # the turn of `late` comes
    late.cancel()
    await last

    assert room.taken == 1
    assert (gone.cancelled(), late.cancelled()) == (True, True)


async def test_rooms_are_left_together_and_once() -> None:
    """Also when the wait for the second room is given up."""
    first, second = Room(1), Room(1)
    leave = await enter_all((first, 1), (second, 1))
    waiting = asyncio.create_task(enter_all((Room(1), 1), (second, 1)))
    await asyncio.sleep(0.1)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    leave()
    leave()

    assert (first.taken, second.taken) == (0, 0)
