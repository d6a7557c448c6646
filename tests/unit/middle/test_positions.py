"""How much of the log of puts and deletes an answer has."""

import asyncio

from tests.unit.shards import VECTOR, FakeServer, fan_out_of


async def test_an_answer_has_what_every_shard_has_of_the_log() -> None:
    """The least position of its servers, of its version alone; each is told what is wanted."""
    servers = FakeServer([0], ("v1",)), FakeServer([1], ("v1",)), FakeServer([0], ("v0",))
    for server, position in zip(servers, (7, 5, 3), strict=True):
        server.position = position
    deadline = asyncio.get_running_loop().time() + 5
    fan_out = fan_out_of(*servers)
    first, other = await asyncio.gather(
        *(fan_out.search(VECTOR, 1, 2, deadline, min_position=wanted) for wanted in (4, 5))
    )

    assert (5, 5) == (first.position, other.position)
    for server in servers[:2]:
        assert [4, 5] == [batch.request.min_position for batch in server.batches[:2]]
