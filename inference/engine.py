"""What embeds in the inference server: each tower with its batcher, and decoding beside it."""

import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from common.batcher import Batcher, Gather, isolating
from common.config import Inference
from common.errors import BadRequest, Problem, ServiceError
from common.wire import Matrix, pack_rows
from inference.messages import EmbedReply, EmbedRequest
from inference.model import Model
from inference.towers import ImageTower, TextTower


class Engine:
    """One model, served: texts and images in, embeddings out, from any number of threads."""

    def __init__(self, model: Model, space: str, config: Inference, pool: ThreadPoolExecutor):
        """`space` is the digest of the image tower that the embeddings are compared with."""
        self._model = model
        self._space = space
        self._max_pixels = config.max_pixels
        self._pool = pool
        self._text = self._image = None
        if model.text:
            self._text = self._batcher("text", model.text, config)
        if model.image:
            self._image = self._batcher("image", model.image, config)

    def _batcher(self, kind: str, tower: TextTower | ImageTower, config: Inference) -> Batcher:
        """A queue in front of a tower, and a thread for each of its replicas."""

        def run(items: list[Any], _deadline: float) -> list[Any]:
            return [_finite(row) for row in tower.embed(items)]

        runs = [isolating(run)] * tower.replicas
        return Batcher(f"{self._model.name}-{kind}", runs, config.max_batch, config.max_queue)

    def start(self) -> None:
        """Start the batchers."""
        for batcher in self._batchers():
            batcher.start()

    def close(self) -> None:
        """Finish what is queued."""
        for batcher in self._batchers():
            batcher.close()

    def embed(self, request: EmbedRequest) -> EmbedReply:
        """Embed a request's inputs; what is wrong with one of them fails that one alone."""
        if bool(request.texts) == bool(request.images):
            raise BadRequest("give texts or images, one of the two")
        deadline = time.monotonic() + request.deadline_ms / 1000
        if request.texts:
            return self._embed_texts(request.texts, deadline)
        return self._embed_images(request.images, deadline)

    def _embed_texts(self, texts: list[str], deadline: float) -> EmbedReply:
        tower, batcher = self._model.text, self._text
        if tower is None or batcher is None:
            raise BadRequest(f"model {self._model.name} embeds no texts", "model_unavailable")
        gather = Gather(len(texts), deadline)
        warnings = {}
        for slot, text in enumerate(texts):
            prepared = tower.prepare(text)
            if prepared.warning:
                warnings[slot] = prepared.warning
            batcher.submit(prepared.value, gather, slot)
        return self._reply(gather, warnings)

    def _embed_images(self, files: list[bytes], deadline: float) -> EmbedReply:
        batcher = self._image
        if batcher is None:
            raise BadRequest(f"model {self._model.name} embeds no images", "model_unavailable")
        gather = Gather(len(files), deadline)

        def prepare(slot: int) -> None:
            if gather.abandoned:
                return
            try:
                pixels = self._model.preprocess(files[slot], self._max_pixels)
            except Exception as error:  # the edge of an item
                gather.settle(slot, error)
            else:
                batcher.submit(pixels, gather, slot)

        for slot in range(len(files)):
            self._pool.submit(prepare, slot)
        return self._reply(gather, {})

    def _reply(self, gather: Gather, warnings: dict[int, str]) -> EmbedReply:
        rows = np.zeros((len(results := gather.wait()), self._model.dim), dtype=np.float32)
        problems = {}
        for slot, result in enumerate(results):
            if isinstance(result, Exception):
                problems[slot] = Problem.of(result)
            else:
                rows[slot] = result
        return EmbedReply(
            self._model.name, self._space, self._model.dim, pack_rows(rows), problems, warnings
        )

    def _batchers(self) -> list[Batcher]:
        return [batcher for batcher in (self._text, self._image) if batcher]


def _finite(row: Matrix) -> Matrix | ServiceError:
    if np.isfinite(row).all():
        return row
    return ServiceError("the model gave no finite embedding for this input", "no_embedding")
