"""The client of the inference API, for our own server and for TorchServe."""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeVar

import msgspec
from msgspec.structs import replace

from common.coalescing import Coalescer
from common.digest import digested
from common.errors import NotFound, ServiceError
from common.http_client import HttpClient, Request
from common.internal_auth import InternalAuth
from common.loop import within
from common.upstream import Read, Upstream
from common.wire import Matrix, decode_reply, encode, unpack_rows
from inference.messages import (
    IMAGE_BATCH,
    EmbedReply,
    EmbedRequest,
    GrabCutRequest,
    Logits,
    Region,
    SamDecodeRequest,
    SamEncodeReply,
    SamEncodeRequest,
    SegmentReply,
)
from inference.torchserve.token import Token

Role = Literal["clip", "mclip"]
ROLES: tuple[Role, ...] = ("clip", "mclip")
Message = EmbedRequest | GrabCutRequest | SamEncodeRequest | SamDecodeRequest
Result = TypeVar("Result")

TEXT_BATCH = 64
LONG_TEXT_BYTES = 256
"""A longer text goes with its like, not to hold up the reply to others. It has about 64 tokens: a
token has four bytes of UTF-8 in any script, nearly."""
LONG_TEXT_BATCH = 8
MAX_QUEUE = 1024
SAM_HEDGE_S = 15.0  # ViT-B takes 8 s on two cores
IMAGENET_CLASSES = Path(__file__).resolve().parent / "models/starter/visual/labels.json"
SPARE = 1
"""Batches in flight to a server beyond those that it computes: the next one is there in time."""


class Embedding(NamedTuple):
    """A unit vector, float32 [dim], with its space and its model."""

    vector: Matrix
    space: str
    model: str
    warning: str | None
    logits: Logits
    digest: str
    """As in `EmbedReply`."""


class NewImage(NamedTuple):
    """The embedding of an image that is to be found, and its perceptual hash: 16 hex digits."""

    embedding: Embedding
    perceptual: str


class Probabilities(NamedTuple):
    """The class probabilities of an image by the model's classifier: float32 [labels], sum 1."""

    values: Matrix
    labels: list[str]
    space: str
    model: str


class InferenceClient:
    """Embeds texts and images in batches, at one of several inference servers.

    A client belongs to one event loop. Deadlines are on the clock of that loop, in seconds.
    """

    def __init__(
        self,
        addresses: Sequence[str],
        key_file: Path | None = None,
        inside: InternalAuth | None = None,
    ) -> None:
        """`addresses` are "host:port"; no connection is opened here.

        `key_file` is TorchServe's. With a `key_file`, the client ignores `inside`, the
        authentication between our own services.
        """
        self._token = Token(key_file)
        self._http = HttpClient(None if key_file else inside)
        self._listed = len(addresses)
        self._upstream = Upstream("inference", addresses, self._http, probe_path="/ping")
        self._texts = {role: self._line(role, "texts", "texts", TEXT_BATCH) for role in ROLES}
        self._long_texts = {
            role: self._line(role, "long-texts", "texts", LONG_TEXT_BATCH) for role in ROLES
        }
        self._images = self._line("clip", "images", "images", IMAGE_BATCH)
        self._new_images = self._line("clip", "new-images", "images", IMAGE_BATCH)
        self._classes = self._line("clip", "classes", "images", IMAGE_BATCH)

    async def close(self) -> None:
        """Close the connections."""
        await self._upstream.close()
        await self._http.close()

    async def embed_text(self, role: Role, text: str, deadline: float) -> Embedding:
        """Embed a text; raises a ServiceError."""
        is_long = len(text.encode()) > LONG_TEXT_BYTES
        line = (self._long_texts if is_long else self._texts)[role]
        found: Embedding = await within(deadline, line.submit(text, deadline))
        return found

    async def embed_image(
        self, data: bytes, deadline: float, region: Region | None = None
    ) -> Embedding:
        """Embed an image file, or a region of it; raises a ServiceError."""
        sent = self._images.submit((data, region), deadline)
        found: Embedding = await within(deadline, sent)
        return found

    async def embed_new_image(self, data: bytes, deadline: float) -> NewImage:
        """Embed an image file that is put into the index; raises a ServiceError."""
        found: NewImage = await within(deadline, self._new_images.submit((data, None), deadline))
        return found

    async def classify_image(
        self, data: bytes, deadline: float, region: Region | None = None
    ) -> Probabilities | Embedding:
        """The class probabilities of an image, or its embedding if the model has no classifier.

        With a region, of that part of the image. Raises a ServiceError.
        """
        return await within(deadline, self._classes.submit((data, region), deadline))

    async def grabcut(self, request: GrabCutRequest, deadline: float) -> SegmentReply:
        """The segment of a prompt without a model; raises a ServiceError.

        The error is NotFound if the server cannot do so, and has status 501 if it lacks OpenCV.
        """
        return await self._ask("grabcut", request, SegmentReply, deadline)

    async def sam_encode(self, image: bytes, deadline: float) -> SamEncodeReply:
        """The features of an image file; raises a ServiceError, NotFound if there is no model."""
        request = SamEncodeRequest(image)
        return await self._ask("sam_encode", request, SamEncodeReply, deadline, SAM_HEDGE_S)

    async def sam_decode(self, request: SamDecodeRequest, deadline: float) -> SegmentReply:
        """The segment of a prompt on the features of an image; raises a ServiceError.

        The error has the code `other_model` if the features are of another model.
        """
        return await self._ask("sam_decode", request, SegmentReply, deadline)

    async def sam_digest(self, deadline: float) -> str:
        """The digest of the model that segments, as in `SamEncodeReply`; raises as `sam_encode`."""
        request = SamEncodeRequest(describe=True)
        return (await self._ask("sam_encode", request, SamEncodeReply, deadline)).digest

    async def digest(self, role: Role, deadline: float) -> str:
        """The digest of the model in a role, as in `EmbedReply`; raises a ServiceError.

        The error is NotFound if the role has no model.
        """
        return (await self._embed(role, EmbedRequest(describe=True), deadline)).digest

    async def is_alive(self, deadline: float) -> bool:
        """Whether a server answers `GET /ping`."""
        try:
            await self._send(Request("GET", "/ping"), deadline, lambda _reply: None)
        except ServiceError:
            return False
        return True

    def _line(
        self, role: Role, name: str, kind: Literal["texts", "images"], max_batch: int
    ) -> Coalescer[Any, Any]:
        async def send(items: list[Any], deadline: float) -> list[Any]:
            inputs = _images(items) if kind == "images" else {"texts": items}
            request = EmbedRequest(
                **inputs, classify=name == "classes", perceptual=name == "new-images"
            )
            reply = await self._embed(role, request, deadline)
            line.set_slots(self._slots(reply.replicas))
            rows = unpack_rows(reply.rows, reply.dim)
            return [_result(reply, index, row) for index, row in enumerate(rows)]

        line: Coalescer[Any, Any] = Coalescer(
            f"inference-{role}-{name}",
            send,
            slots=(1 + SPARE) * self._listed,
            max_batch=max_batch,
            max_queue=MAX_QUEUE,
            refuse_late=True,
        )
        return line

    def _slots(self, replicas: int) -> int:
        return (replicas + SPARE) * self._upstream.size

    async def _embed(self, role: Role, message: EmbedRequest, deadline: float) -> EmbedReply:
        return await self._ask(role, message, EmbedReply, deadline)

    async def _ask(
        self, role: str, message: Message, kind: type[Result], deadline: float, hedge_s: float = 0.0
    ) -> Result:
        left_ms = 1000 * (deadline - asyncio.get_running_loop().time())
        body = await digested(encode(replace(message, deadline_ms=left_ms)))
        request = Request("POST", f"/predictions/{role}", body, hedge_after_s=hedge_s)
        try:
            return await self._send(request, deadline, lambda reply: decode_reply(reply.body, kind))
        except ServiceError as error:
            if error.status == 404 and error.code == ServiceError.code:  # TorchServe's, not ours
                detail = f"the server that embeds has no model {role}"
                raise NotFound(detail, "model_unavailable") from None
            raise

    async def _send(self, request: Request, deadline: float, read: Read[Result]) -> Result:
        """Send a request to a server; a request to TorchServe carries the key."""
        return await self._token.use(
            lambda headers: self._upstream.ask(request._replace(headers=headers), deadline, read)
        )


def imagenet_classes() -> list[str]:
    """The distinct names of the ImageNet classes, for models without a classifier."""
    return list(dict.fromkeys(msgspec.json.decode(IMAGENET_CLASSES.read_bytes(), type=list[str])))


def _images(items: list[tuple[bytes, Region | None]]) -> dict[str, Any]:
    """The fields of a request for images, each whole or a region of it."""
    regions = {place: region for place, (_, region) in enumerate(items) if region}
    return {"images": [data for data, _ in items], "regions": regions}


def _result(
    reply: EmbedReply, index: int, row: Matrix
) -> Embedding | NewImage | Probabilities | ServiceError:
    if index in reply.problems:
        return reply.problems[index].error()
    if reply.labels:
        return Probabilities(row, reply.labels, reply.space, reply.model)
    warning = reply.warnings.get(index)
    found = Embedding(row, reply.space, reply.model, warning, reply.logits, reply.digest)
    return NewImage(found, reply.perceptual[index]) if reply.perceptual else found
