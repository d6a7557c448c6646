"""What the public API can do, for the APIs of other projects."""

import re
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from common.errors import ServiceError
from common.loop import LoopThread
from front.query import SearchQuery, check_query
from middle.client import MiddleClient, decode_answer
from middle.messages import (
    MAX_INPUTS,
    Answer,
    EmbedAnswer,
    EmbedQuery,
    Image,
    Info,
    ModelChoice,
    Regions,
)
from middle.query_checks import check_embed

Input = str | bytes
"""A text, or the bytes of an image file."""


class Backend(NamedTuple):
    """Middle, for the thread of a request. All methods raise a ServiceError."""

    client: MiddleClient
    loop: LoopThread
    new_deadline: Callable[[], float]
    embed_deadline: Callable[[], float]
    """The deadline of the next inputs that are embedded."""
    fetch: Callable[[SearchQuery, Callable[[], float]], tuple[SearchQuery, float]]
    """As `QueryImages.fill`."""
    thumbnail: Callable[[str], bytes]
    """The thumbnail of an image id, a JPEG, for a key with the scope `images`."""

    def embed(
        self,
        inputs: Sequence[Input],
        model: ModelChoice = "auto",
        regions: Regions | None = None,
        *,
        bypass: bool = False,
    ) -> EmbedAnswer:
        """The unit vectors of texts and images, in order; any number of them.

        `regions` has one for each image, or none at all.

        Middle is asked for MAX_INPUTS at a time, each within its deadline. With `bypass`, nothing
        is from a cache.
        """
        vectors: dict[int, list[float]] = {}
        whole = EmbedAnswer([], "")
        for places, query in _parts(inputs, model, regions):
            try:
                asking = self.client.embed(query, self.embed_deadline(), bypass=bypass)
                body = self.loop.run(asking).body
            except ServiceError as error:
                error.detail = _renumbered(error.detail, places)
                raise
            answer = decode_answer(body, EmbedAnswer)
            vectors |= zip(places, answer.embeddings, strict=True)
            whole.warnings += [_renumbered(warning, places) for warning in answer.warnings]
            whole.model = answer.model
        whole.embeddings = [vectors[place] for place in range(len(inputs))]
        return whole

    def search(self, query: SearchQuery) -> Answer:
        """The answer to a query."""
        query, deadline = self.fetch(check_query(query), self.new_deadline)
        reply = self.loop.run(self.client.search(query, deadline))
        return decode_answer(reply.body, Answer)

    def image(self, image_id: str, deadline: float) -> Image:
        """An indexed image, by its id, or by the digits of an id that make its number."""
        return self.loop.run(self.client.image(image_id, deadline))

    def info(self) -> Info:
        """The index that can be searched."""
        return decode_answer(self.loop.run(self.client.info()), Info)


def _parts(
    inputs: Sequence[Input], model: ModelChoice, regions: Regions | None
) -> list[tuple[Sequence[int], EmbedQuery]]:
    """Checked queries for middle, each with the places of its inputs; raises BadRequest."""
    parts: list[tuple[Sequence[int], EmbedQuery]] = []
    for kind, name in ((str, "texts"), (bytes, "images")):
        places = [place for place, item in enumerate(inputs) if isinstance(item, kind)]
        for start in range(0, len(places), MAX_INPUTS):
            part = places[start : start + MAX_INPUTS]
            items: dict[str, Any] = {name: [inputs[place] for place in part]}
            if kind is bytes and regions:
                items["regions"] = regions[start : start + MAX_INPUTS]
            parts.append((part, check_embed(EmbedQuery(**items, model=model))))
    return parts


def _renumbered(told: str, places: Sequence[int]) -> str:
    """A message of middle about an input of a part, with the input's place in the whole."""
    return re.sub(r"^input (\d+)", lambda found: f"input {places[int(found[1])]}", told)
