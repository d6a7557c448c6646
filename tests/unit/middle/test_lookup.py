"""Looking an image up: at the server with its shard, or at all where nothing tells the shard."""

import asyncio

import pytest

from common.errors import NotFound, Unavailable
from middle.first_answer import first_answer
from tests.unit.shards import FakeServer, fan_out_of


async def test_an_image_is_looked_up_where_its_shard_is() -> None:
    """And elsewhere only where that server says that it has another."""
    servers = FakeServer([0]), FakeServer([1])
    fan_out = fan_out_of(*servers)
    soon = asyncio.get_running_loop().time() + 5
    await fan_out.lookup(f"{2**63:016x}{0:016x}", soon)
    assert [server.lookups for server in servers] == [0, 1]

    servers[1].error = Unavailable("moved", "wrong_shard")
    await fan_out.lookup(f"{2**63:016x}{0:016x}", soon)
    assert [server.lookups for server in servers] == [1, 2]
    servers[1].error = NotFound("no such image")
    with pytest.raises(NotFound):
        await fan_out.lookup(f"{2**63:016x}{0:016x}", soon)
    assert [server.lookups for server in servers] == [1, 3]


async def test_the_start_of_an_id_is_looked_up_everywhere() -> None:
    """It tells no shard. That nobody has it counts only if everybody could be asked."""
    servers = FakeServer([0]), FakeServer([1])
    fan_out = fan_out_of(*servers)
    soon = asyncio.get_running_loop().time() + 5
    servers[0].error = NotFound("no such image", "unknown_id")
    assert await fan_out.lookup("0" * 13, soon)
    assert [server.lookups for server in servers] == [1, 1]
    servers[1].error = Unavailable("down")
    with pytest.raises(Unavailable):
        await fan_out.lookup("0" * 13, soon)
    servers[1].error = NotFound("no such image", "unknown_id")
    with pytest.raises(NotFound):
        await fan_out.lookup("0" * 13, soon)


async def test_where_no_server_holds_the_shard_that_is_told() -> None:
    """It is no fault of whoever asks."""
    soon = asyncio.get_running_loop().time() + 5
    with pytest.raises(Unavailable, match="no search server holds this shard"):
        await first_answer([], lambda server, deadline: server.info(deadline), soon)
