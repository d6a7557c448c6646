"""The client of the inference API, whichever engine is behind it."""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeVar

import msgspec

from common.coalescing import Coalescer
from common.errors import NotFound, ServiceError
from common.http_client import HttpClient, Reply, Request, digested
from common.internal_auth import InternalAuth
from common.loop import within
from common.upstream import Read, Upstream
from common.wire import Matrix, decode_reply, encode, unpack_rows
from inference.messages import IMAGE_BATCH, EmbedReply, EmbedRequest, Logits
from inference.torchserve.token import Token

Role = Literal["clip", "mclip"]
Result = TypeVar("Result")

TEXT_BATCH = 64
MAX_QUEUE = 1024
IMAGENET_CLASSES = Path(__file__).resolve().parent / "models/starter/visual/labels.json"
SLOTS = 2
"""Batches under way to a replica at a time: while one is computed the next is already there."""


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
    """Sends what is to be embedded in few requests, to one of several inference servers.

    Belongs to one event loop; deadlines are on its clock.
    """

    def __init__(
        self,
        addresses: Sequence[str],
        key_file: Path | None = None,
        inside: InternalAuth | None = None,
    ) -> None:
        """`addresses` are "host:port", `key_file` TorchServe's; nothing is opened here.

        TorchServe has its key instead of what our own services show each other `inside`.
        """
        self._token = Token(key_file)
        self._http = HttpClient(None if key_file else inside)
        self._upstream = Upstream("inference", addresses, self._http, probe_path="/ping")
        self._slots = SLOTS * len(addresses)
        self._texts = {role: self._line(role, "texts", TEXT_BATCH) for role in ("clip", "mclip")}
        self._images = self._line("clip", "images", IMAGE_BATCH)
        self._classes = self._line("clip", "images", IMAGE_BATCH, classify=True)

    async def close(self) -> None:
        """Close the connections."""
        await self._upstream.close()
        await self._http.close()

    async def embed_text(self, role: Role, text: str, deadline: float) -> Embedding:
        """Embed a text; raises a ServiceError."""
        found: Embedding = await within(deadline, self._texts[role].submit(text, deadline))
        return found

    async def embed_image(self, data: bytes, deadline: float) -> Embedding:
        """Embed an image file; raises a ServiceError."""
        found: Embedding = await within(deadline, self._images.submit(data, deadline))
        return found

    async def classify_image(self, data: bytes, deadline: float) -> Probabilities | Embedding:
        """An image's Probabilities, or its Embedding if there is no classifier."""
        return await within(deadline, self._classes.submit(data, deadline))

    async def digest(self, role: Role, deadline: float) -> str:
        """The digest of what embeds in a role; raises NotFound when nothing does."""
        return (await self._ask(role, EmbedRequest(describe=True), deadline)).digest

    async def is_alive(self, deadline: float) -> bool:
        """Whether a server answers its ping."""

        try:
            await self._send(Request("GET", "/ping"), deadline, lambda _reply: None)
        except ServiceError:
            return False
        return True

    def _line(
        self, role: Role, kind: str, max_batch: int, classify: bool = False
    ) -> Coalescer[Any, Any]:
        async def send(items: list[Any], deadline: float) -> list[Any]:
            left_ms = 1000 * (deadline - asyncio.get_running_loop().time())
            inputs: dict[str, Any] = {kind: items}
            request = EmbedRequest(**inputs, classify=classify, deadline_ms=left_ms)
            reply = await self._ask(role, request, deadline)
            rows = unpack_rows(reply.rows, reply.dim)
            return [_result(reply, i, row) for i, row in enumerate(rows)]

        return Coalescer(
            f"inference-{role}-{'classes' if classify else kind}",
            send,
            slots=self._slots,
            max_batch=max_batch,
            max_queue=MAX_QUEUE,
            refuse_late=True,
        )

    async def _ask(self, role: Role, message: EmbedRequest, deadline: float) -> EmbedReply:
        request = Request("POST", f"/predictions/{role}", await digested(encode(message)))
        try:
            return await self._send(request, deadline, _read)
        except ServiceError as error:
            if error.status == 404 and error.code == ServiceError.code:  # in TorchServe's words
                detail = f"the server that embeds has no model {role}"
                raise NotFound(detail, "model_unavailable") from None
            raise

    async def _send(self, request: Request, deadline: float, read: Read[Result]) -> Result:
        """Ask a server, TorchServe with its key."""
        return await self._token.use(
            lambda headers: self._upstream.ask(request._replace(headers=headers), deadline, read)
        )


def imagenet_classes() -> list[str]:
    """The names of ImageNet's classes, for models that have no classifier; no two the same."""
    return list(dict.fromkeys(msgspec.json.decode(IMAGENET_CLASSES.read_bytes(), type=list[str])))


def _read(reply: Reply) -> EmbedReply:
    return decode_reply(reply.body, EmbedReply)


def _result(reply: EmbedReply, i: int, row: Matrix) -> Embedding | Probabilities | ServiceError:
    if i in reply.problems:
        return reply.problems[i].error()
    if reply.labels:
        return Probabilities(row, reply.labels, reply.space, reply.model)
    warning = reply.warnings.get(i)
    return Embedding(row, reply.space, reply.model, warning, reply.logits, reply.digest)
