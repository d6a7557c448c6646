"""Image classification: by the image model's own classifier, or zero-shot by labels."""

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
    """Answers classification queries with the inference servers."""

    def __init__(self, embedder: Embedder) -> None:
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
        """Answer a checked query; with `bypass`, no image embedding is from the cache.

        `files` are the query's images. Raises a ServiceError if a label fails, or every image.
        """
        started = time.perf_counter()
        if is_zero_shot(query):  # labels first: a late image fails alone, a late label fails all
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
        known = [result for result in good if isinstance(result, Probabilities)]
        if known:
            rows = np.stack([result.values for result in known]).astype(np.float64)
            results = join(images, rows, known[0].labels, query.top)
            return ClassifyAnswer(results, known[0].model, "classifier", {})
        embedded = [result for result in good if isinstance(result, Embedded)]
        space, logits = embedded[0].space, embedded[0].logits
        labels, warnings = await self._embed_labels(query, deadline, space)
        if any((label.space, label.digest) != (space, labels[0].digest) for label in labels):
            raise _changed()
        vectors = np.stack([image.vector for image in embedded])
        rows = scores(vectors @ np.stack([label.vector for label in labels]).T, logits)
        results = join(images, rows, query.labels or imagenet_classes(), query.top)
        return ClassifyAnswer(results, labels[0].model or "", "zero-shot", {}, warnings)

    async def _embed_labels(
        self, query: ClassifyQuery, deadline: float, space: str | None
    ) -> tuple[list[Embedded], list[str]]:
        if query.labels:
            labels, choice = query.labels, query.model
        else:  # ImageNet's labels are English, even with words that no dictionary has
            labels, choice = imagenet_classes(), "clip" if query.model == "auto" else query.model
        return await self._labels.embed(labels, query.template, choice, deadline, space)


def is_zero_shot(query: ClassifyQuery) -> bool:
    """Whether a query has labels, a template or a text model, so that a text tower must answer."""
    return bool(query.labels or query.template) or query.model != "auto"


def classified(
    images: Sequence[ImageResult],
) -> list[Probabilities | Embedded]:
    """The images that did not fail, all from one model.

    If all images failed, raises the error with the highest status.
    """
    good = [result for result in images if not isinstance(result, ServiceError)]
    if len({(type(result), result.space) for result in good}) > 1:
        raise _changed()
    if good:
        return good
    errors = {i: result for i, result in enumerate(images) if isinstance(result, ServiceError)}
    place, error = max(errors.items(), key=lambda item: item[1].status)
    raise ServiceError(f"image {place}: {error.detail}", error.code, error.status)


def scores(cosines: Matrix, logits: Logits) -> Scores:
    """Scores from cosines, both [images, labels]; `Logits` has the formula."""
    values = logits.scale * cosines.astype(np.float64)
    if logits.bias is not None:
        sigmoid: Scores = np.exp(-np.logaddexp(0, -(values + logits.bias)))
        return sigmoid
    weights: Scores = np.exp(values - values.max(axis=1, keepdims=True))
    weights /= weights.sum(axis=1, keepdims=True)
    return weights


def best(row: Scores, labels: Sequence[str], top: int) -> list[ClassScore]:
    """The `top` classes of one image, best first; of equal scores the earlier label first."""
    order = np.argsort(-row, kind="stable")[:top]
    return [ClassScore(labels[place], float(row[place])) for place in order]


def join(
    images: Sequence[object], rows: Scores, labels: Sequence[str], top: int
) -> list[Classified]:
    """The result of each image; `rows` are the scores of the images without an error, in order."""
    row = iter(rows)
    return [
        Classified(problem=Problem.of(image))
        if isinstance(image, ServiceError)
        else Classified(best(next(row), labels, top))
        for image in images
    ]


def _changed() -> Unavailable:
    return Unavailable("the model was changed while this was answered: ask again")
