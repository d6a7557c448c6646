"""The first answer of several search servers, each of which may be down."""

import asyncio

import pytest

from common.errors import ServiceError, Unavailable
from middle.first_answer import first_answer
from search.client import SearchServer
from tests.unit.shards import FakeServer, down


async def ask(server: SearchServer, deadline: float) -> str:
    return (await server.info(deadline)).version


async def test_the_first_that_answers_is_heard() -> None:
    """The others are not asked; without any server, no server holds the shard."""
    servers = FakeServer(), FakeServer(versions=["v2"]), FakeServer(versions=["v3"])
    servers[0].error = down()
    deadline = asyncio.get_running_loop().time() + 3

    assert "v2" == await first_answer(servers, ask, deadline)  # type: ignore[arg-type]
    with pytest.raises(Unavailable) as nobody:
        await first_answer([], ask, deadline)
    assert "wrong_shard" == nobody.value.code


async def test_an_error_of_the_caller_ends_the_asking() -> None:
    """Any server would answer it."""
    servers = FakeServer(), FakeServer()
    servers[0].error = ServiceError("no", "bad_request", 400)
    with pytest.raises(ServiceError, match="no"):
        await first_answer(servers, ask, 10.0)  # type: ignore[arg-type]
