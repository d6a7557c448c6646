"""A search server without a socket, which tells what it was asked, and queries for it."""

import asyncio
from collections.abc import Sequence

import msgspec
import numpy as np

from common.digest import content_digest
from common.http_client import Reply
from common.wire import encode, unpack_rows
from search.client import SearchServer
from search.messages import Hits, Info, SearchReply, SearchRequest, ShardHits
from search.query_batch import Ask, QueryBatch, ShardResult, VectorQuery
from tests.unit.fake_http import FakeHttp
from tests.unit.shards import hits, lookup_reply

ADDRESS = "server-0:80"
ASK = Ask(0)


class Holding:
    """Answers searches in one shard: the score of the only hit is the first number asked for."""

    def __init__(self) -> None:
        self.http = FakeHttp({ADDRESS: self.answer})
        self.server = SearchServer("unit", [ADDRESS], self.http.client)
        self.requests: list[SearchRequest] = []
        self.after_s = 1.0
        self.position = 0

    async def answer(self) -> Reply:
        request = self.http.sent[-1].request
        if request.path == "/info":
            return digested(encode(Info("v1", "space", "clip", 2, 7, [0], 1)))
        assert request.body is not None
        if request.path == "/lookup":
            return digested(encode(lookup_reply(position=self.position)))
        asked = msgspec.msgpack.decode(request.body.body, type=SearchRequest)
        self.requests.append(asked)
        await asyncio.sleep(self.after_s if asked.min_position <= self.position else 60.0)
        if asked.version_digest == "old":
            gone = b'{"status":404,"code":"no_such_version","detail":"gone"}'
            return digested(gone, 404)
        rows = unpack_rows(asked.vectors, asked.dim)
        found = [hits((float(row[0]), 1)) for row in rows]
        version_digest = asked.version_digest or "digest"
        held = [ShardHits(0, found)] if asked.shards in (None, [0]) else []
        return digested(encode(SearchReply("v1", version_digest, "space", 1, held, self.position)))


def digested(body: bytes, status: int = 200) -> Reply:
    return Reply(status, {"Content-Digest": content_digest(body)}, body)


def batch(
    scores: Sequence[float],
    version_digest: str | None = None,
    seconds: float = 9.0,
    min_position: int = 0,
) -> QueryBatch:
    one = QueryBatch()
    for score in scores:
        vector = np.array([score, 0.0], np.float32)
        query = VectorQuery(vector, 3, 6, version_digest, min_position=min_position)
        one.add(query, asyncio.get_running_loop().time() + seconds)
    return one


def scores(results: Sequence[ShardResult[Hits]]) -> list[float]:
    return [float(np.frombuffer(one.shards[0].scores, "<f4")[0]) for one in results]
