"""Embedding the contents of a request: in as few questions to middle as its limits allow."""

import asyncio
import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from msgspec.structs import replace

from common.errors import ServiceError, TooLarge
from common.wire import Matrix
from gateway.documents import Content, about
from gateway.retrying import RetryingMiddle
from middle.messages import MAX_INPUTS, MAX_TEXT, EmbedAnswer, EmbedQuery, ModelChoice

MAX_IMAGES = 8
"""Images in one question. Two slow cores embed as many in half a second, far from the deadline."""
AT_ONCE = 2
"""Questions under way for one request, so that the largest request leaves room for others."""
PLACE = re.compile(r"input (\d+): ")
"""What middle's message begins with: the place of the input at fault, or of the warning."""


class Item(NamedTuple):
    """A content, and the name of its document in messages."""

    label: str
    content: Content


class Embedded(NamedTuple):
    """Unit vectors [n, dim], and what the client should know of them."""

    vectors: Matrix
    warnings: list[str]


class Embedder:
    """Embeds contents through middle."""

    def __init__(self, middle: RetryingMiddle, max_body_bytes: int) -> None:
        """`max_body_bytes` is the most that middle reads at once."""
        self._middle = middle
        self._max_body_bytes = max_body_bytes

    async def embed(self, items: Sequence[Item], model: ModelChoice) -> Embedded:
        """A vector for each item, in order; raises a ServiceError for the first that has none."""
        if not items:
            return Embedded(np.empty((0, 0), np.float32), [])
        fitting, warnings = self.fit(items)
        turn, groups = asyncio.Semaphore(AT_ONCE), list(self._groups(fitting))
        asking = [self._ask(turn, [fitting[i] for i in group], model) for group in groups]
        rows: list[list[float]] = [[]] * len(items)
        for group, answer in zip(groups, await asyncio.gather(*asking), strict=True):
            warnings += answer.warnings
            for place, row in zip(group, answer.embeddings, strict=True):
                rows[place] = row
        return Embedded(np.asarray(rows, np.float32), warnings)

    def fit(self, items: Sequence[Item]) -> tuple[list[Item], list[str]]:
        """The items with long texts cut, and warnings of that; raises a ServiceError."""
        fitting, warnings = [], []
        for item in items:
            label, content = item
            limit = MAX_TEXT if isinstance(content, str) else self._max_body_bytes
            if len(content) > limit and isinstance(content, bytes):
                detail = f"the image has {len(content)} bytes; {limit} is the limit"
                raise about(label, TooLarge(detail))
            if len(content) > limit:
                warnings.append(f"{label}: the text is cut after {limit} characters")
            fitting.append(Item(label, content[:limit]))
        return fitting, warnings

    def _groups(self, items: Sequence[Item]) -> Iterator[list[int]]:
        """The places of the items of each question: of one kind, few enough, small enough."""
        for kind, most in ((str, MAX_INPUTS), (bytes, MAX_IMAGES)):
            group: list[int] = []
            size_bytes = 0
            for place, item in enumerate(items):
                if not isinstance(item.content, kind):
                    continue
                length = len(item.content)
                if group and (len(group) == most or size_bytes + length > self._max_body_bytes):
                    yield group
                    group, size_bytes = [], 0
                group.append(place)
                size_bytes += length
            if group:
                yield group

    async def _ask(
        self, turn: asyncio.Semaphore, items: Sequence[Item], model: ModelChoice
    ) -> EmbedAnswer:
        """The answer to one question, with the names of documents in its warnings."""
        texts = [item.content for item in items if isinstance(item.content, str)]
        images = [item.content for item in items if isinstance(item.content, bytes)]
        async with turn:
            try:
                answer = await self._middle.embed(
                    EmbedQuery(texts=texts, images=images, model=model)
                )
            except ServiceError as error:
                label, detail = _named(error.detail, items)
                if label is None:
                    raise
                raise about(label, ServiceError(detail, error.code, error.status)) from None
        named = [_named(warning, items) for warning in answer.warnings]
        warnings = [f"{label}: {text}" if label else text for label, text in named]
        return replace(answer, warnings=warnings)


def _named(message: str, items: Sequence[Item]) -> tuple[str | None, str]:
    """The name of the document that a message of middle is about, and the rest of the message."""
    found = PLACE.match(message)
    if not found or int(found[1]) >= len(items):
        return None, message
    return items[int(found[1])].label, message[found.end() :]
