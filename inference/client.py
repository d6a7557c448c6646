"""The client of the inference API, whichever engine is behind it."""

import time
from pathlib import Path
from typing import Any, Literal, NamedTuple

import msgspec

from common.batcher import Batcher, Gather
from common.errors import NotFound, ServiceError
from common.inside import Inside
from common.peer import Peer
from common.wire import Matrix, decode_reply, encode, unpack_rows
from inference.messages import IMAGE_BATCH, EmbedReply, EmbedRequest, Logits
from inference.torchserve.key import Key

Role = Literal["clip", "mclip"]

TEXT_BATCH = 64
MAX_WAITING = 1024
IMAGENET_CLASSES = Path(__file__).resolve().parent / "models/starter/visual/labels.json"
CONNECTIONS = 2
"""Batches under way at a time: while one is computed the next is already there."""


class Embedding(NamedTuple):
    """A unit vector, float32 [dim], and the space that it lives in."""

    vector: Matrix
    space: str
    model: str
    warning: str | None
    logits: Logits
    digest: str
    """Of all that made it."""


class Probabilities(NamedTuple):
    """What the model's own classifier says of an image, float32 [labels]; sums to 1."""

    values: Matrix
    labels: list[str]
    space: str
    model: str


class InferenceClient:
    """Coalesces what the threads of this process want embedded into few requests."""

    def __init__(
        self, address: str, key_file: Path | None = None, inside: Inside | None = None
    ) -> None:
        """`address` is "host:port", `key_file` TorchServe's; nothing is opened before `start`.

        TorchServe has its key instead of what our own services show each other `inside`.
        """
        self._key = Key(key_file)
        self._peer = Peer(address, 3 * CONNECTIONS, None if key_file else inside)
        self._texts = {role: self._line(role, "texts", TEXT_BATCH) for role in ("clip", "mclip")}
        self._images = self._line("clip", "images", IMAGE_BATCH)
        self._classes = self._line("clip", "images", IMAGE_BATCH, classify=True)

    def _line(self, role: str, kind: str, max_batch: int, classify: bool = False) -> Batcher:
        def send(items: list[Any], deadline: float) -> list[Any]:
            left_ms = 1000 * (deadline - time.monotonic())
            inputs: dict[str, Any] = {kind: items}
            request = EmbedRequest(**inputs, classify=classify, deadline_ms=left_ms)
            return self._send(role, request, deadline)

        name = f"inference-{role}-{'classes' if classify else kind}"
        return Batcher(name, [send] * CONNECTIONS, max_batch, MAX_WAITING, refuse_late=True)

    def start(self) -> None:
        """Start the threads that send; call it after the process has forked."""
        for line in self._lines():
            line.start()

    def close(self) -> None:
        """Finish what waits and close the connections."""
        for line in self._lines():
            line.close()
        self._peer.close()

    def embed_text(self, role: Role, text: str, gather: Gather, slot: int = 0) -> None:
        """Settle a slot of `gather` with the Embedding of a text."""
        self._texts[role].submit(text, gather, slot)

    def embed_image(self, data: bytes, gather: Gather, slot: int = 0) -> None:
        """Settle a slot of `gather` with the Embedding of an image file."""
        self._images.submit(data, gather, slot)

    def classify_image(self, data: bytes, gather: Gather, slot: int = 0) -> None:
        """Settle a slot with an image's Probabilities, or Embedding if there is no classifier."""
        self._classes.submit(data, gather, slot)

    def digest(self, role: Role, deadline: float) -> str:
        """The digest of what embeds in a role; raises NotFound when nothing does."""
        request = EmbedRequest(describe=True)
        return decode_reply(self._post(role, encode(request), deadline), EmbedReply).digest

    def is_alive(self, timeout_s: float = 1.0) -> bool:
        """Whether the server answers its ping."""
        try:
            deadline = time.monotonic() + timeout_s
            self._key.use(lambda headers: self._peer.get("/ping", deadline, headers))
        except ServiceError:
            return False
        return True

    def _lines(self) -> tuple[Batcher, ...]:
        return (*self._texts.values(), self._images, self._classes)

    def _send(self, role: str, request: EmbedRequest, deadline: float) -> list[Any]:
        body = self._post(role, encode(request), deadline)
        reply = decode_reply(body, EmbedReply)
        rows = unpack_rows(reply.rows, reply.dim)
        return [_result(reply, i, row) for i, row in enumerate(rows)]

    def _post(self, role: str, body: bytes, deadline: float) -> bytes:
        path = f"/predictions/{role}"
        try:
            return self._key.use(lambda headers: self._peer.post(path, body, deadline, headers))
        except ServiceError as error:
            if error.status == 404 and error.code == ServiceError.code:  # in TorchServe's words
                detail = f"the server that embeds has no model {role}"
                raise NotFound(detail, "model_unavailable") from None
            raise


def imagenet_classes() -> list[str]:
    """The names of ImageNet's classes, for models that have no classifier; no two the same."""
    return list(dict.fromkeys(msgspec.json.decode(IMAGENET_CLASSES.read_bytes(), type=list[str])))


def _result(reply: EmbedReply, i: int, row: Matrix) -> Embedding | Probabilities | ServiceError:
    if i in reply.problems:
        return reply.problems[i].error()
    if reply.labels:
        return Probabilities(row, reply.labels, reply.space, reply.model)
    warning = reply.warnings.get(i)
    return Embedding(row, reply.space, reply.model, warning, reply.logits, reply.digest)
