"""An answer of one search server among several that may have it."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from common.errors import ServiceError, Unavailable
from search.client import SearchServer

Answer = TypeVar("Answer")


async def first_answer(
    servers: Sequence[SearchServer],
    ask: Callable[[SearchServer, float], Awaitable[Answer]],
    deadline: float,
) -> Answer:
    """The first answer. Each server gets a share of the time, since any server may hang."""
    failure: ServiceError = Unavailable("no search server holds this shard", "wrong_shard")
    for place, server in enumerate(servers):
        now = asyncio.get_running_loop().time()
        try:
            return await ask(server, now + (deadline - now) / (len(servers) - place))
        except ServiceError as error:
            if error.status < 500:
                raise
            failure = error
    raise failure


async def any_answer(
    servers: Sequence[SearchServer],
    ask: Callable[[SearchServer, float], Awaitable[Answer]],
    deadline: float,
) -> Answer:
    """An answer of all servers; their worst error if there is none."""
    answers = await asyncio.gather(
        *(ask(server, deadline) for server in servers), return_exceptions=True
    )
    failures: list[ServiceError] = []
    for answer in answers:
        if isinstance(answer, ServiceError):
            failures.append(answer)
        elif isinstance(answer, BaseException):
            raise answer
        else:
            return answer
    raise max(failures, key=lambda error: error.status)
