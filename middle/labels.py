"""The vectors of labels, kept, since the same labels are asked for again and again."""

import asyncio
from collections.abc import Sequence
from itertools import islice

from cachetools import LRUCache

from common.errors import ServiceError
from common.loop import within
from inference.client import Role
from middle.embed import Embedded, Embedder, answered_by_clip, choose_role
from middle.messages import ModelChoice

TEMPLATE = "a photo of a {}."
"""What CLIP's authors put around a label (Radford et al., 2021, section 3.1.4)."""
MAX_KEPT = 8192
"""Labels: ImageNet's and some long lists; 32 MB where a vector has 1,024 numbers."""
LABEL_BATCH = 128
"""Labels that are embedded together: other queries get between the waves, and what a wave made is
kept even when there is no time for the next."""


class Labels:
    """Embeds labels as an Embedder does texts, and keeps those used last."""

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
        """Embed labels in a template, all by one tower; and what to warn of.

        What is kept of another space than `space` is made anew; None takes what there is. Raises
        the error of the first label that fails, naming its place.
        """
        role = choose_role(" ".join([*labels, template or ""]), choice)
        texts = [(template or TEMPLATE).replace("{}", label) for label in labels]
        warnings = []
        try:
            embedded = await self._embed(role, texts, deadline, space)
        except ServiceError as error:
            if choice != "auto" or role == "clip" or error.code != "model_unavailable":
                raise
            warnings.append(answered_by_clip(error.detail))
            embedded = await self._embed("clip", texts, deadline, space)
        return embedded, warnings + _summed([one.warnings for one in embedded])

    async def _embed(
        self, role: Role, texts: Sequence[str], deadline: float, space: str | None
    ) -> list[Embedded]:
        known = self._known(role, texts, space)
        if len(texts) <= LABEL_BATCH or not _missing(texts, known):
            known |= await self._make(role, _missing(texts, known), deadline)
            return [known[text] for text in texts]
        # Long lists take turns: else many queries for one list would each embed all of it.
        await within(deadline, self._turn.acquire())
        try:
            known = self._known(role, texts, space)
            while wave := _missing(texts, known):
                known |= await self._make(role, wave, deadline)
        finally:
            self._turn.release()
        return [known[text] for text in texts]

    def _known(self, role: Role, texts: Sequence[str], space: str | None) -> dict[str, Embedded]:
        kept = [(text, self._kept.get((role, text))) for text in texts]
        return {text: one for text, one in kept if one and space in (None, one.space)}

    async def _make(
        self, role: Role, texts: dict[int, str], deadline: float
    ) -> dict[str, Embedded]:
        """Embed texts, each given by its place, and keep them; raises for the first that fails."""
        results = await self._embedder.texts(list(texts.values()), role, deadline)
        made = {
            # a copy: the vector is a row of the reply, which it would keep whole
            text: result._replace(vector=result.vector.copy())
            for text, result in zip(texts.values(), results, strict=True)
            if not isinstance(result, ServiceError)
        }
        self._kept.update({(role, text): one for text, one in made.items()})
        for place, result in zip(texts, results, strict=True):
            if isinstance(result, ServiceError):
                raise _named(place, result)
        return made


def _missing(texts: Sequence[str], known: dict[str, Embedded]) -> dict[int, str]:
    """The next texts to embed, by their places."""
    places = (place for place, text in enumerate(texts) if text not in known)
    return {place: texts[place] for place in islice(places, LABEL_BATCH)}


def _summed(warnings: Sequence[Sequence[str]]) -> list[str]:
    """The warnings of labels, each once: with many labels there could be as many."""
    places: dict[str, list[int]] = {}
    for place, each in enumerate(warnings):
        for warning in each:
            places.setdefault(warning, []).append(place)
    return [
        f"label {first}{f' and {len(more)} more' if more else ''}: {warning}"
        for warning, (first, *more) in places.items()
    ]


def _named(place: int, error: ServiceError) -> ServiceError:
    if error.code == "model_unavailable":  # which no label is to blame for
        return error
    return ServiceError(f"label {place}: {error.detail}", error.code, error.status)
