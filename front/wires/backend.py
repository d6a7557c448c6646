"""What the public API can do, for the APIs of other projects."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import msgspec

from common.loop import LoopThread
from front.query import SearchQuery, check_query
from middle.client import MiddleClient
from middle.messages import (
    MAX_INPUTS,
    Answer,
    EmbedAnswer,
    EmbedQuery,
    Image,
    Info,
    ModelChoice,
)
from middle.query_checks import check_embed

Input = str | bytes
"""A text, or the bytes of an image file."""


class Backend(NamedTuple):
    """Middle, for the thread of a request. All methods raise a ServiceError."""

    client: MiddleClient
    loop: LoopThread
    new_deadline: Callable[[], float]
    fetch: Callable[[SearchQuery], SearchQuery]
    """The query with the image that its image_url names."""
    thumbnail: Callable[[str], bytes]
    """The thumbnail of an image id, a JPEG."""

    def embed(self, inputs: Sequence[Input], model: ModelChoice = "auto") -> list[list[float]]:
        """The unit vectors of texts and images, in order; any number of them."""
        vectors: dict[int, list[float]] = {}
        for kind in (str, bytes):
            places = [place for place, item in enumerate(inputs) if isinstance(item, kind)]
            for start in range(0, len(places), MAX_INPUTS):
                part = places[start : start + MAX_INPUTS]
                items: dict[str, Any] = {
                    "texts" if kind is str else "images": [inputs[place] for place in part]
                }
                query = check_embed(EmbedQuery(**items, model=model))
                reply = self.loop.run(self.client.embed(query, self.new_deadline()))
                answer = msgspec.json.decode(reply.body, type=EmbedAnswer)
                vectors |= zip(part, answer.embeddings, strict=True)
        return [vectors[place] for place in range(len(inputs))]

    def search(self, query: SearchQuery) -> Answer:
        """The answer to a query."""
        query = self.fetch(check_query(query))
        reply = self.loop.run(self.client.search(query, self.new_deadline()))
        return msgspec.json.decode(reply.body, type=Answer)

    def image(self, image_id: str) -> Image:
        """An indexed image, by its id, or by the digits of an id that make its number."""
        return self.loop.run(self.client.image(image_id))

    def info(self) -> Info:
        """The index that can be searched."""
        return msgspec.json.decode(self.loop.run(self.client.info()), type=Info)
