"""An inference server and an embedder without a socket."""

import asyncio
from collections.abc import Sequence

from common.errors import NotFound, ServiceError, UnsupportedMedia
from common.loop import within
from inference.client import Embedding, NewImage, Probabilities, Role
from inference.messages import Logits, Region
from middle.cache_keys import ImageFile
from middle.embed import Embedded
from tests.unit.shards import SPACE, VECTOR

BROKEN_IMAGE = b"broken"


class FakeInference:
    """Has the models that `digests` names; embeds everything as the same vector, after a second."""

    def __init__(self, **digests: str) -> None:
        self.digests = digests or {"clip": "digest of clip", "mclip": "digest of mclip"}
        self.error: ServiceError | None = None
        self.has_classifier = False
        self.after_s = 1.0
        self.is_hung = False
        self.texts: list[tuple[Role, str]] = []
        self.images: list[bytes] = []
        self.regions: list[Region | None] = []

    async def digest(self, role: str, deadline: float) -> str:
        if self.is_hung:
            await within(deadline, asyncio.Event().wait())
        if self.error:
            raise self.error
        if role not in self.digests:
            raise _absent(role)
        return self.digests[role]

    async def sam_digest(self, deadline: float) -> str:
        return await self.digest("sam", deadline)

    async def embed_text(self, role: Role, text: str, _deadline: float) -> Embedding:
        self.texts.append((role, text))
        return await self._embed(role)

    async def embed_image(
        self, data: bytes, _deadline: float, region: Region | None = None
    ) -> Embedding:
        self.images.append(data)
        self.regions.append(region)
        if data == BROKEN_IMAGE:
            raise UnsupportedMedia("this is no image")
        return await self._embed("clip")

    async def embed_new_image(self, data: bytes, deadline: float) -> NewImage:
        return NewImage(await self.embed_image(data, deadline), f"{len(data):016x}")

    async def classify_image(
        self, data: bytes, deadline: float, region: Region | None = None
    ) -> Probabilities | Embedding:
        if self.has_classifier and data != BROKEN_IMAGE:
            return Probabilities(VECTOR, ["cat", "dog"], SPACE, "clip")
        return await self.embed_image(data, deadline, region)

    async def _embed(self, role: Role) -> Embedding:
        await asyncio.sleep(self.after_s)
        if self.error:
            raise self.error
        if role not in self.digests:
            raise _absent(role)
        return Embedding(VECTOR, SPACE, role, None, Logits(), self.digests[role])


class FakeEmbedder:
    """Embeds after a second, each batch noted; texts named in `errors` fail."""

    def __init__(self, digest: str = "digest of clip") -> None:
        self.embedded = Embedded(VECTOR, SPACE, "clip", (), Logits(), digest)
        self.errors: dict[str, ServiceError] = {}
        self.batches: list[tuple[str, list[str]]] = []
        self.bypassed: list[bool] = []

    def digest(self, _role: str) -> str:
        return self.embedded.digest

    async def texts(
        self, texts: Sequence[str], choice: str, _deadline: float, *, bypass: bool = False
    ) -> list[Embedded | ServiceError]:
        self.batches.append((choice, list(texts)))
        self.bypassed.append(bypass)
        await asyncio.sleep(1)
        return [self.errors.get(f"{choice} {text}", self.embedded) for text in texts]

    async def images(
        self, files: Sequence[ImageFile], _deadline: float, *, bypass: bool = False
    ) -> list[Embedded | ServiceError]:
        self.bypassed.append(bypass)
        await asyncio.sleep(1)
        return [
            UnsupportedMedia("this is no image") if file.data == BROKEN_IMAGE else self.embedded
            for file in files
        ]


def _absent(role: str) -> NotFound:
    return NotFound(f"the server that embeds has no model {role}", "model_unavailable")
