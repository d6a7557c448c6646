"""The client of the inference API, whichever engine is behind it."""

import time
from typing import Any, Literal, NamedTuple

from common.batcher import Batcher, Gather
from common.errors import ServiceError
from common.wire import Matrix, Peer, decode_reply, encode, unpack_rows
from inference.messages import IMAGE_BATCH, EmbedReply, EmbedRequest

Role = Literal["clip", "mclip"]

TEXT_BATCH = 64
MAX_WAITING = 1024
CONNECTIONS = 2
"""Batches under way at a time: while one is computed the next is already there."""


class Embedding(NamedTuple):
    """A unit vector, float32 [dim], and the space that it lives in."""

    vector: Matrix
    space: str
    model: str
    warning: str | None


class InferenceClient:
    """Coalesces what the threads of this process want embedded into few requests."""

    def __init__(self, address: str) -> None:
        """`address` is "host:port"; nothing is opened before `start`."""
        self._peer = Peer(address, connections=3 * CONNECTIONS)
        self._texts = {role: self._line(role, "texts", TEXT_BATCH) for role in ("clip", "mclip")}
        self._images = self._line("clip", "images", IMAGE_BATCH)

    def _line(self, role: str, kind: str, max_batch: int) -> Batcher:
        def send(items: list[Any], deadline: float) -> list[Any]:
            return self._send(role, kind, items, deadline)

        return Batcher(f"inference-{role}-{kind}", [send] * CONNECTIONS, max_batch, MAX_WAITING)

    def start(self) -> None:
        """Start the threads that send; call it after the process has forked."""
        for line in (*self._texts.values(), self._images):
            line.start()

    def close(self) -> None:
        """Finish what waits and close the connections."""
        for line in (*self._texts.values(), self._images):
            line.close()
        self._peer.close()

    def embed_text(self, role: Role, text: str, gather: Gather, slot: int = 0) -> None:
        """Settle a slot of `gather` with the Embedding of a text."""
        self._texts[role].submit(text, gather, slot)

    def embed_image(self, data: bytes, gather: Gather, slot: int = 0) -> None:
        """Settle a slot of `gather` with the Embedding of an image file."""
        self._images.submit(data, gather, slot)

    def is_alive(self, timeout_s: float = 1.0) -> bool:
        """Whether the server answers its ping."""
        try:
            self._peer.get("/ping", time.monotonic() + timeout_s)
        except ServiceError:
            return False
        return True

    def _send(self, role: str, kind: str, items: list[Any], deadline: float) -> list[Any]:
        request = EmbedRequest(**{kind: items}, deadline_ms=1000 * (deadline - time.monotonic()))
        body = self._peer.post(f"/predictions/{role}", encode(request), deadline)
        reply = decode_reply(body, EmbedReply)
        rows = unpack_rows(reply.rows, reply.dim)
        return [
            reply.problems[i].error()
            if i in reply.problems
            else Embedding(row, reply.space, reply.model, reply.warnings.get(i))
            for i, row in enumerate(rows)
        ]
