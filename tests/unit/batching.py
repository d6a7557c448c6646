"""A coalescer for tests, the server that it sends to, and the outcomes that it counts."""

import asyncio
from collections.abc import Sequence
from typing import Any

from common.coalescing import Coalescer
from common.request_context import CONTEXT
from tests.unit.counting import counted

ITEMS = "clip_search_batch_items_total"
OUTCOMES = ("refused", "abandoned", "expired", "ok", "failed")


def soon(seconds: float = 60.0) -> float:
    return asyncio.get_running_loop().time() + seconds


class Server:
    """Takes a second for each batch, and remembers it."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.deadlines: list[float] = []
        self.request_ids: list[str] = []

    async def __call__(self, items: list[int], deadline: float) -> Sequence[int | Exception]:
        self.batches.append(items)
        self.deadlines.append(deadline)
        self.request_ids.append(CONTEXT.get().request_ids)
        await asyncio.sleep(1)
        return [10 * item for item in items]


def coalescer(send: Any, **settings: Any) -> Coalescer[int, int]:
    return Coalescer("unit", send, **{"slots": 1, "max_batch": 8, "max_queue": 64, **settings})


def outcomes() -> dict[str, float]:
    return {name: counted(ITEMS, batcher="unit", outcome=name) for name in OUTCOMES}


def since(before: dict[str, float]) -> dict[str, float]:
    return {name: n - before[name] for name, n in outcomes().items() if n != before[name]}
