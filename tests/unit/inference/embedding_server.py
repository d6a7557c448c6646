"""An inference server without a socket."""

import asyncio

import msgspec
import numpy as np

from common.errors import Problem
from common.http_client import Reply
from common.wire import encode, pack_rows
from inference.messages import EmbedReply, EmbedRequest
from tests.unit.fake_http import FakeHttp

ADDRESS = "server-0:80"


class Server:
    """Embeds each input as its own number, after a second; the input "bad" is a problem."""

    def __init__(self) -> None:
        self.http = FakeHttp({ADDRESS: self.answer, "server-1:80": self.answer}, "/ping")
        self.requests: list[tuple[str, EmbedRequest]] = []
        self.labels: list[str] = []
        self.replicas = 1
        self.cut = 0
        """Bytes that are missing at the end of a reply's rows."""

    async def answer(self) -> Reply:
        sent = self.http.sent[-1].request
        assert sent.body is not None
        request = msgspec.msgpack.decode(sent.body.body, type=EmbedRequest)
        self.requests.append((sent.path, request))
        await asyncio.sleep(1)
        inputs = [*request.texts, *request.images]
        rows = np.array([[len(one), 0] for one in inputs], np.float32).reshape(-1, 2)
        problems = {
            place: Problem(415, "unsupported_media_type", "this is no image")
            for place, one in enumerate(inputs)
            if one in ("bad", b"bad")
        }
        reply = EmbedReply(
            *("clip", "space", 2, pack_rows(rows), problems, {0: "cut"} if inputs else {}),
            labels=self.labels if request.classify else [],
            digest="digest",
            perceptual={place: f"{place:016x}" for place in range(len(inputs))}
            if request.perceptual
            else {},
            replicas=self.replicas,
        )
        reply.rows = reply.rows[: len(reply.rows) - self.cut]
        return Reply(200, {}, encode(reply))
