"""Classifying images: by the image model's own classifier, or zero-shot by labels near to them."""

import time
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from common.errors import Problem, ServiceError, Unavailable
from common.wire import Matrix
from inference.client import Probabilities, imagenet_classes
from inference.messages import Logits
from middle.cache_keys import ImageFile
from middle.embed import Embedded, Embedder
from middle.labels import Labels
from middle.messages import Classified, ClassifyAnswer, ClassifyQuery, ClassScore

Scores = NDArray[np.float64]
ImageResult = Probabilities | Embedded | ServiceError


class Classifier:
    """Answers queries for classes with an inference server."""

    def __init__(self, embedder: Embedder) -> None:
        """`embedder` is closed by who made it."""
        self._embedder = embedder
        self._labels = Labels(embedder)

    async def classify(
        self,
        query: ClassifyQuery,
        files: Sequence[ImageFile],
        deadline: float,
        *,
        bypass: bool = False,
    ) -> ClassifyAnswer:
        """Answer a checked query, with `bypass` by no kept embedding of an image.

        `files` are the query's images.
        Raises a ServiceError when no image can be classified.
        """
        started = time.perf_counter()
        if is_zero_shot(query):  # first the labels: late images fail alone, a late label fails all
            await self._embed_labels(query, deadline, None)
        labelled_at = time.perf_counter()
        images: Sequence[ImageResult]
        if is_zero_shot(query):
            images = await self._embedder.images(files, deadline, bypass=bypass)
        else:
            images = await self._embedder.classify(files, deadline)
        imaged_at = time.perf_counter()
        answer = await self._score(query, images, deadline)
        ended = time.perf_counter()
        answer.took_ms = {
            "labels": round(1000 * (labelled_at - started + ended - imaged_at), 3),
            "images": round(1000 * (imaged_at - labelled_at), 3),
            "total": round(1000 * (ended - started), 3),
        }
        return answer

    async def _score(
        self,
        query: ClassifyQuery,
        images: Sequence[ImageResult],
        deadline: float,
    ) -> ClassifyAnswer:
        good = classified(images)
        known = [one for one in good if isinstance(one, Probabilities)]
        if known:
            rows = np.stack([one.values for one in known]).astype(np.float64)
            results = join(images, rows, known[0].labels, query.top)
            return ClassifyAnswer(results, known[0].model, "classifier", {})
        embedded = [one for one in good if isinstance(one, Embedded)]
        space, logits = embedded[0].space, embedded[0].logits
        labels, warnings = await self._embed_labels(query, deadline, space)
        if any(one.space != space for one in labels):
            raise _changed()
        vectors = np.stack([one.vector for one in embedded])
        rows = scores(vectors @ np.stack([one.vector for one in labels]).T, logits)
        results = join(images, rows, query.labels or imagenet_classes(), query.top)
        return ClassifyAnswer(results, labels[0].model or "", "zero-shot", {}, warnings)

    async def _embed_labels(
        self, query: ClassifyQuery, deadline: float, space: str | None
    ) -> tuple[list[Embedded], list[str]]:
        if query.labels:
            labels, choice = query.labels, query.model
        else:  # they are English, whatever their letters
            labels, choice = imagenet_classes(), "clip" if query.model == "auto" else query.model
        return await self._labels.embed(labels, query.template, choice, deadline, space)


def is_zero_shot(query: ClassifyQuery) -> bool:
    """Whether a query says something of labels, so that a text tower must answer it."""
    return bool(query.labels or query.template) or query.model != "auto"


def classified(
    images: Sequence[ImageResult],
) -> list[Probabilities | Embedded]:
    """Those that did not fail, all from one model; when all did, raises the gravest error."""
    good = [one for one in images if not isinstance(one, ServiceError)]
    if len({(type(one), one.space) for one in good}) > 1:
        raise _changed()
    if good:
        return good
    errors = [(place, one) for place, one in enumerate(images) if isinstance(one, ServiceError)]
    place, error = max(errors, key=lambda each: each[1].status)
    raise ServiceError(f"image {place}: {error.detail}", error.code, error.status)


def scores(cosines: Matrix, logits: Logits) -> Scores:
    """Scores from cosines, both [images, labels]: see `Logits`."""
    values = logits.scale * cosines.astype(np.float64)
    if logits.bias is not None:
        sigmoid: Scores = np.exp(-np.logaddexp(0, -(values + logits.bias)))
        return sigmoid
    weights: Scores = np.exp(values - values.max(axis=1, keepdims=True))
    weights /= weights.sum(axis=1, keepdims=True)
    return weights


def best(row: Scores, labels: Sequence[str], top: int) -> list[ClassScore]:
    """The `top` classes of one image, the best first; of equals the earlier label."""
    order = np.argsort(-row, kind="stable")[:top]
    return [ClassScore(labels[place], float(row[place])) for place in order]


def join(
    images: Sequence[object], rows: Scores, labels: Sequence[str], top: int
) -> list[Classified]:
    """What became of each image; `rows` are the scores of those that are no error, in order."""
    row = iter(rows)
    return [
        Classified(problem=Problem.of(one))
        if isinstance(one, ServiceError)
        else Classified(best(next(row), labels, top))
        for one in images
    ]


def _changed() -> Unavailable:
    return Unavailable("the model was changed while this was answered: ask again")
