"""A model as both engines serve it: a batcher for each tower, and a thread pool for decoding."""

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from hashlib import sha256
from typing import Any

import numpy as np

from common.batcher import Batcher, Run
from common.config import Inference
from common.errors import BadRequest, Problem, ServiceError
from common.gather import Gather
from common.images.formats import FORMATS
from common.isolating import isolating
from common.wire import Matrix, pack_rows
from inference.clip.model import Model
from inference.clip.perceptual_hash import perceptual_hash
from inference.messages import EmbedReply, EmbedRequest
from inference.prompt_checks import check_region

log = logging.getLogger(__name__)

NOTHING: Mapping[int, str] = {}
BATCH_TOKENS = 6
"""The tokens of a batch of texts, for each of `max_batch`: 384 by default. A CPU embeds no more
texts a second with more, and a query that comes meanwhile waits for them. With 256, cores were idle
for 7 % of the time: 64 queries of a request took three batches, and all waited for the third."""


class ServedModel:
    """A model that embeds texts and images. Any number of threads may call `embed`."""

    def __init__(
        self, role: str, model: Model, space: str, config: Inference, pool: ThreadPoolExecutor
    ) -> None:
        """`space` is the digest of the image tower that the embeddings are compared with.

        `config` is that of the role. `pool` decodes and preprocesses images.
        """
        self._role = role
        self._model = model
        self._space = space
        self._digest = sha256(f"{model.digest} {space}".encode()).hexdigest()
        self._max_pixels = config.max_pixels
        self._formats = [name.upper() for name in config.query_formats or FORMATS]
        self._pool = pool
        self._text = self._image = self._classes = None
        text, image = model.text, model.image
        if text:
            self._text = self._batcher("text", text.embed, text.replicas, config)
        if image:
            self._image = self._batcher("image", image.embed, image.replicas, config)
        if model.classifier and image:  # a separate queue: no search waits for a classifier
            run = model.classifier.probabilities
            self._classes = self._batcher("classes", run, image.replicas, config)
        self._replicas = max(sum(tower.replicas.values()) for tower in (text, image) if tower)

    def _batcher(
        self,
        name: str,
        embed: Callable[[Sequence[Any], str], Matrix],
        replicas: Mapping[str, int],
        config: Inference,
    ) -> Batcher:
        """A queue for one output of a tower, with a thread for each replica of the tower."""

        def run_on(kind: str) -> Run:
            return isolating(lambda items, _deadline: [_finite(row) for row in embed(items, kind)])

        return Batcher(
            f"{self._role}-{name}",
            {kind: [run_on(kind)] * count for kind, count in replicas.items()},
            config.max_batch,
            config.max_queue,
            max_size=BATCH_TOKENS * config.max_batch,
            refuse_late=True,
            leaves_shares=name != "text",  # images are dear: together they cost little less
        )

    def start(self) -> None:
        """Start the batchers."""
        for batcher in self._batchers():
            batcher.start()

    def close(self) -> None:
        """Finish the queued items, then stop the batchers."""
        for batcher in self._batchers():
            batcher.close()

    def embed(self, request: EmbedRequest) -> EmbedReply:
        """Embed the inputs of a request; raises BadRequest.

        If an input cannot be embedded, the reply has a problem for that input.
        """
        return self.begin(request)()

    def begin(self, request: EmbedRequest) -> Callable[[], EmbedReply]:
        """Queue the inputs of a request; returns a function that waits for the reply.

        A caller that begins several requests before it waits lets them share a batch.
        Raises BadRequest.
        """
        if request.describe:
            return partial(self._reply, Gather(0, 0.0))
        for region in request.regions.values():
            check_region(region)
        if bool(request.texts) == bool(request.images):
            raise BadRequest("give texts or images, one of the two")
        deadline = time.monotonic() + request.deadline_ms / 1000
        if request.texts:
            return self._embed_texts(request.texts, deadline)
        if request.classify and self._classes and self._model.classifier:
            gather, _ = self._run_images(request, self._classes, deadline)
            return partial(self._reply, gather, labels=self._model.classifier.labels)
        return self._embed_images(request, deadline)

    def _embed_texts(self, texts: list[str], deadline: float) -> Callable[[], EmbedReply]:
        tower, batcher = self._model.text, self._text
        if tower is None or batcher is None:
            raise BadRequest(f"model {self._model.name} embeds no texts", "model_unavailable")
        gather = Gather(len(texts), deadline)
        warnings = {}
        for slot, text in enumerate(texts):
            prepared = tower.prepare(text)
            if prepared.warning:
                warnings[slot] = prepared.warning
            batcher.submit(prepared.value, gather, slot, prepared.size)
        return partial(self._reply, gather, warnings=warnings)

    def _embed_images(self, request: EmbedRequest, deadline: float) -> Callable[[], EmbedReply]:
        batcher = self._image
        if batcher is None:
            raise BadRequest(f"model {self._model.name} embeds no images", "model_unavailable")
        gather, hashes = self._run_images(request, batcher, deadline)
        return partial(self._reply, gather, hashes=hashes)

    def _run_images(
        self, request: EmbedRequest, batcher: Batcher, deadline: float
    ) -> tuple[Gather, dict[int, str]]:
        """Queue images; the dict has their perceptual hashes, if wanted, once all have ended."""
        files, regions = request.images, request.regions
        gather, hashes = Gather(len(files), deadline, files), dict[int, str]()

        def prepare(slot: int) -> None:
            if gather.abandoned:
                return
            try:
                image = self._model.decode(
                    files[slot], self._max_pixels, self._formats, regions.get(slot)
                )
                if request.perceptual:
                    hashes[slot] = perceptual_hash(image)
                pixels = self._model.pixels(image)
            except Exception as error:  # whatever fails, only this image fails
                if not isinstance(error, ServiceError):
                    log.exception("unforeseen error")
                gather.set_result(slot, error)
            else:
                batcher.submit(pixels, gather, slot)

        for slot in range(len(files)):
            self._pool.submit(prepare, slot)
        return gather, hashes

    def _reply(
        self,
        gather: Gather,
        *,
        warnings: Mapping[int, str] = NOTHING,
        labels: Sequence[str] = (),
        hashes: Mapping[int, str] = NOTHING,
    ) -> EmbedReply:
        dim = len(labels) or self._model.dim
        rows = np.zeros((len(results := gather.wait()), dim), dtype=np.float32)
        problems = {}
        for slot, result in enumerate(results):
            if isinstance(result, Exception):
                problems[slot] = Problem.of(result)
            else:
                rows[slot] = result
        return EmbedReply(
            model=self._model.name,
            space=self._space,
            dim=dim,
            rows=pack_rows(rows),
            problems=problems,
            warnings=dict(warnings),
            logits=self._model.logits,
            labels=list(labels),
            digest=self._digest,
            perceptual={slot: hashes[slot] for slot in list(hashes) if slot not in problems},
            replicas=self._replicas,
        )

    def _batchers(self) -> list[Batcher]:
        return [batcher for batcher in (self._text, self._image, self._classes) if batcher]


def _finite(row: Matrix) -> Matrix | ServiceError:
    if np.isfinite(row).all():
        return row
    return ServiceError("the model gave no finite embedding for this input", "no_embedding")
