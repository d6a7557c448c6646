"""The vectors of labels, cached because many queries use the same labels."""

import asyncio
from collections.abc import Sequence
from itertools import islice

from cachetools import LRUCache

from common.errors import ServiceError
from common.loop import within
from inference.client import Role
from middle.cache_keys import normal_text
from middle.embed import Embedded, Embedder, answered_by_clip, choose_role
from middle.language import has_words
from middle.messages import ModelChoice

TEMPLATE = "a photo of a {}."
"""The text around a label by CLIP's authors (Radford et al., 2021, section 3.1.4)."""
MAX_KEPT = 8192
"""Labels in the cache: ImageNet's and some long lists; 32 MB for vectors of 1,024 numbers."""
LABEL_BATCH = 128
"""Labels that are embedded together. Other queries run between two batches of a long list. Finished
batches stay in the cache if the deadline stops the rest."""


class Labels:
    """Embeds labels with an Embedder, and keeps the labels used last."""

    def __init__(self, embedder: Embedder) -> None:
        self._embedder = embedder
        self._turn = asyncio.Lock()
        self._kept: LRUCache[tuple[Role, str], Embedded] = LRUCache(MAX_KEPT)

    async def embed(
        self,
        labels: Sequence[str],
        template: str | None,
        choice: ModelChoice,
        deadline: float,
        space: str | None = None,
    ) -> tuple[list[Embedded], list[str]]:
        """Embed labels in a template, all by one text tower; returns the vectors and the warnings.

        A kept vector of another model than the text tower is now is made again, also one of another
        space than `space`; None accepts any space. Raises the error of the first label that fails,
        with the label's place.
        """
        words = normal_text(" ".join([*labels, template or ""]))
        role = choose_role(words, choice)
        texts = [(template or TEMPLATE).replace("{}", label) for label in labels]
        warnings = []
        try:
            embedded = await self._embed(role, texts, deadline, space)
        except ServiceError as error:
            if choice != "auto" or role == "clip" or error.code != "model_unavailable":
                raise
            if has_words(words):
                warnings.append(answered_by_clip(error.detail))
            embedded = await self._embed("clip", texts, deadline, space)
        return embedded, warnings + _summed([label.warnings for label in embedded])

    async def _embed(
        self, role: Role, texts: Sequence[str], deadline: float, space: str | None
    ) -> list[Embedded]:
        known = self._known(role, texts, space)
        if len(texts) <= LABEL_BATCH or not _missing(texts, known):
            known |= await self._make(role, _missing(texts, known), deadline)
            return [known[text] for text in texts]
        # Long lists take turns: otherwise concurrent queries would each embed the same list.
        await within(deadline, self._turn.acquire())
        try:
            known = self._known(role, texts, space)
            while batch := _missing(texts, known):
                known |= await self._make(role, batch, deadline)
        finally:
            self._turn.release()
        return [known[text] for text in texts]

    def _known(self, role: Role, texts: Sequence[str], space: str | None) -> dict[str, Embedded]:
        digest = self._embedder.digest(role)
        kept = [(text, self._kept.get((role, text))) for text in texts]
        return {
            text: label
            for text, label in kept
            if label and space in (None, label.space) and digest in (None, label.digest)
        }

    async def _make(
        self, role: Role, texts: dict[int, str], deadline: float
    ) -> dict[str, Embedded]:
        """Embed texts, given by place, and keep them; raises the error of the first that fails."""
        results = await self._embedder.texts(list(texts.values()), role, deadline)
        made = {
            # a copy: the row would keep the whole reply in memory
            text: result._replace(vector=result.vector.copy())
            for text, result in zip(texts.values(), results, strict=True)
            if not isinstance(result, ServiceError)
        }
        self._kept.update({(role, text): label for text, label in made.items()})
        for place, result in zip(texts, results, strict=True):
            if isinstance(result, ServiceError):
                raise _named(place, result)
        return made


def _missing(texts: Sequence[str], known: dict[str, Embedded]) -> dict[int, str]:
    """The next batch of texts to embed, by place."""
    places = (place for place, text in enumerate(texts) if text not in known)
    return {place: texts[place] for place in islice(places, LABEL_BATCH)}


def _summed(warnings: Sequence[Sequence[str]]) -> list[str]:
    """Each warning once, with the number of its labels: many labels may have the same warning."""
    places: dict[str, list[int]] = {}
    for place, each in enumerate(warnings):
        for warning in each:
            places.setdefault(warning, []).append(place)
    return [
        f"label {first}{f' and {len(more)} more' if more else ''}: {warning}"
        for warning, (first, *more) in places.items()
    ]


def _named(place: int, error: ServiceError) -> ServiceError:
    if error.code == "model_unavailable":  # no label is the cause
        return error
    return ServiceError(f"label {place}: {error.detail}", error.code, error.status)
