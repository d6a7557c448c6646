"""The oracle of fault tests: an open-loop client that checks every answer by exact search.

An answer may be full and right, or degraded and right for its shards, or a 503 in time. All other
answers are wrong.
"""

import asyncio
import json
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from typing import Any

import msgspec
import numpy as np

from common.files import content_hash
from common.wire import Matrix
from devtools.collection import Collection
from devtools.open_loop import Client
from search.image_key import shard_of

K = 10
EXACT = 1e-4
"""Tolerance of cosines: float32 terms added in another order differ by less."""


class Truth:
    """The true answers for a collection, by exact search."""

    def __init__(self, collection: Collection, shard_count: int) -> None:
        self.paths = collection.paths()
        self._vectors = collection.vectors()
        self._row = {path: row for row, path in enumerate(self.paths)}
        self._shard_count = shard_count
        files = [(collection.folder / path).read_bytes() for path in self.paths]
        contents = [int(content_hash(data)[:16], 16) for data in files]
        self._shards = np.array([shard_of(content, shard_count) for content in contents])

    def random_query(self, random: np.random.Generator) -> Matrix:
        """A random unit vector, so that no query repeats."""
        vector = random.standard_normal(self._vectors.shape[1:], dtype=np.float32)
        unit: Matrix = vector / np.linalg.norm(vector)
        return unit

    def scores(self, query: Matrix) -> Matrix:
        """The cosine of each image with a query."""
        scores: Matrix = self._vectors @ query
        return scores

    def fault_of(self, answer: dict[str, Any], query: Matrix, k: int) -> str | None:
        """What is wrong with an answer, if anything.

        A degraded answer must be right for the shards that its hits come from.
        """
        scores = self.scores(query)
        found = [(hit["path"], hit["score"]) for hit in answer["hits"]]
        if any(abs(scores[self._row[path]] - score) > EXACT for path, score in found):
            return "a score that is not the image's"
        if len({path for path, _ in found}) < len(found):
            return "an image twice"
        shards = {int(self._shards[self._row[path]]) for path, _ in found}
        counts = answer["coverage"]["shards"]
        if counts["total"] != self._shard_count or len(shards) > counts["ok"]:
            return f"hits of {len(shards)} shards, counts {counts}"
        if answer["coverage"]["degraded"] != (counts["ok"] < counts["total"]):
            return f"degraded or not, {counts}"
        if answer["coverage"]["degraded"]:
            scores = scores[np.isin(self._shards, list(shards))]
        best = np.sort(scores)[::-1][:k]
        if len(found) != len(best) or (np.abs(best - [score for _, score in found]) > EXACT).any():
            return f"not the best, coverage {counts}"
        return None


@dataclass
class Outcomes:
    """The outcomes of the queries of a client."""

    counts: Counter[str] = field(default_factory=Counter)
    """Queries that were full, degraded, refused (a 503) or wrong."""
    wrong: list[str] = field(default_factory=list)
    late: list[str] = field(default_factory=list)
    latencies_ms: list[float] = field(default_factory=list)
    codes: Counter[str] = field(default_factory=Counter)
    """Refused queries by the code of the problem."""

    def percentile_ms(self, share: float) -> float:
        """The latency in ms that this share of the queries does not exceed; 0 without queries."""
        return float(np.percentile(self.latencies_ms, 100 * share)) if self.latencies_ms else 0.0


@contextmanager
def checked_load(
    address: str, truth: Truth, rate: float, within_ms: float, path: str = "/search"
) -> Iterator[Outcomes]:
    """Send `rate` queries a second while the block runs, and check each answer.

    A query that takes longer than `within_ms` is late. Queries are random vectors.
    """
    outcomes = Outcomes()
    ended = threading.Event()
    asking = _Load(address, truth, within_ms, path, outcomes)
    thread = threading.Thread(target=lambda: asyncio.run(asking.run(rate, ended)))
    thread.start()
    try:
        yield outcomes
    finally:
        ended.set()
        thread.join()


class _Load:
    def __init__(
        self, address: str, truth: Truth, within_ms: float, path: str, outcomes: Outcomes
    ) -> None:
        self._client = Client(address, path)
        self._truth, self._within_ms = truth, within_ms
        self._outcomes = outcomes
        self._random = np.random.default_rng()

    async def run(self, rate: float, ended: threading.Event) -> None:
        loop = asyncio.get_running_loop()
        due, tasks = loop.time(), set()
        with closing(self._client):
            while not ended.is_set():
                due += self._random.exponential(1 / rate)
                await asyncio.sleep(max(0.0, due - loop.time()))
                task = loop.create_task(self._ask(due))
                tasks.add(task)
                task.add_done_callback(tasks.discard)
            await asyncio.gather(*tasks)

    async def _ask(self, due: float) -> None:
        vector = self._truth.random_query(self._random)
        message = {"embedding": vector.tolist(), "k": K}
        try:
            async with asyncio.timeout(30):
                status, body = await self._client.post(msgspec.json.encode(message))
        except (OSError, EOFError, ValueError, TimeoutError) as error:
            status, body = 0, repr(error).encode()
        took_ms = 1000 * (asyncio.get_running_loop().time() - due)
        self._outcomes.latencies_ms.append(took_ms)
        self._count(status, body, vector, took_ms)

    def _count(self, status: int, body: bytes, vector: Matrix, took_ms: float) -> None:
        fault: str | None = None
        outcome = "refused"
        if status == 200:
            answer = json.loads(body)
            fault = self._truth.fault_of(answer, vector, K)
            outcome = "degraded" if answer["coverage"]["degraded"] else "full"
        elif status == 503:
            self._outcomes.codes[json.loads(body)["code"]] += 1
        else:
            fault = f"status {status}: {body[:200]!r}"
        if took_ms > self._within_ms:
            self._outcomes.late.append(f"{outcome} after {took_ms:.0f} ms")
        if fault:
            self._outcomes.wrong.append(fault)
        self._outcomes.counts["wrong" if fault else outcome] += 1
