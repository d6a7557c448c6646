"""The endpoints of CLIP-as-service: encode, rank, search, index."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from common.config import Inference
from common.errors import BadRequest, NotFound, ServiceError
from gateway.documents import (
    Content,
    about,
    content_of,
    drop_image,
    rank_matches,
    set_embedding,
    set_hits,
)
from gateway.embedder import Embedder, Item
from gateway.indexing import Indexer, new_image
from gateway.retrying import RetryingMiddle
from gateway.wire import Message
from middle.messages import MAX_HITS, Answer, ModelChoice, Query

ENDPOINTS = ("/", "/encode", "/rank", "/search", "/index")
"""`/` encodes, too: the client's `profile()` asks it."""
SEARCHES_AT_ONCE = 8
MAX_ID = 64
"""Characters of an id in a message; docarray's ids have 32."""
LIMIT = 10.0
"""The hits of a search whose client names no limit; clip-client always names it."""


class Endpoint(NamedTuple):
    """What a request asks for: one of ENDPOINTS, and the name of a model or ""."""

    name: str
    model: str


class Endpoints:
    """Answers the documents of a request in place, through middle."""

    def __init__(
        self,
        middle: RetryingMiddle,
        embedder: Embedder,
        indexer: Indexer,
        inference: Inference,
        text_model: ModelChoice = "clip",
    ) -> None:
        self._middle = middle
        self._indexer = indexer
        self._embedder = embedder
        self._max_pixels = inference.max_pixels
        self._models = {**models_of(inference), "": text_model}

    async def answer(self, endpoint: Endpoint, request: Message) -> list[str]:
        """Write the results into a request; returns warnings. Raises a ServiceError."""
        parameters = dict(request.parameters.items())
        check_parameters(parameters)
        documents = list(request.data.docs.docs)
        if endpoint.name == "/index":
            self._model(endpoint.model or str(parameters.get("model_name", "")))
            await self._index(documents)
            warnings = []
        elif endpoint.name == "/search":
            warnings = await self._search(documents, parameters)
        else:
            model = self._model(endpoint.model or str(parameters.get("model_name", "")))
            work = self._rank if endpoint.name == "/rank" else self._encode
            warnings = await work(documents, model)
        if parameters.get("drop_image_content"):
            for document in documents:
                drop_image(document)
                for match in document.matches:
                    drop_image(match)
        return warnings

    async def _encode(self, documents: Sequence[Message], model: ModelChoice) -> list[str]:
        """Embed the documents; those without any content stay as they are."""
        labels = labels_of(documents)
        contents = await self._contents(documents, labels)
        found = [
            (document, Item(label, content))
            for document, label, content in zip(documents, labels, contents, strict=True)
            if content is not None
        ]
        vectors, warnings = await self._embedder.embed([item for _, item in found], model)
        for (document, _), vector in zip(found, vectors, strict=True):
            set_embedding(document, vector)
        return warnings

    async def _rank(self, documents: Sequence[Message], model: ModelChoice) -> list[str]:
        """Sort the matches of each document by how well they fit it."""
        flat, labels = [], []
        for document, label in zip(documents, labels_of(documents), strict=True):
            if not document.matches:
                raise about(label, BadRequest("it has no matches to rank"))
            flat += [document, *document.matches]
            labels += [label, *(f"{label}, match {i}" for i in range(len(document.matches)))]
        items = _whole(labels, await self._contents(flat, labels))
        vectors, warnings = await self._embedder.embed(items, model)
        start = 0
        for document in documents:
            end = start + 1 + len(document.matches)
            rank_matches(document, vectors[start], vectors[start + 1 : end])
            start = end
        return warnings

    async def _search(
        self, documents: Sequence[Message], parameters: Mapping[str, object]
    ) -> list[str]:
        """Write the hits of each document into its matches."""
        k, labels = limit_of(parameters), labels_of(documents)
        items, warnings = self._embedder.fit(
            _whole(labels, await self._contents(documents, labels))
        )
        turn = asyncio.Semaphore(SEARCHES_AT_ONCE)

        async def search(item: Item) -> Answer:
            position = self._indexer.position
            if isinstance(item.content, str):
                query = Query(text=item.content, k=k, min_position=position)
            else:
                query = Query(image=item.content, k=k, min_position=position)
            async with turn:
                try:
                    return await self._middle.search(query)
                except ServiceError as error:
                    raise about(item.label, error) from None

        answers = await asyncio.gather(*map(search, items))
        for document, label, answer in zip(documents, labels, answers, strict=True):
            set_hits(document, answer.hits)
            warnings += [f"{label}: {warning}" for warning in answer.warnings]
            if answer.coverage.degraded:
                part = f"{answer.coverage.fraction:.0%}"
                warnings.append(f"{label}: only {part} of the index answered")
        return warnings

    async def _index(self, documents: Sequence[Message]) -> None:
        """Put the images of the documents into the index, all of which are checked before."""
        self._indexer.check()
        labels = labels_of(documents)
        contents = await self._contents(documents, labels)
        images = list(map(new_image, documents, labels, contents))
        self._embedder.fit([Item(image.label, image.data) for image in images])
        for document, answer in zip(documents, await self._indexer.put(images), strict=True):
            set_embedding(document, answer.embedding)

    async def _contents(
        self, documents: Sequence[Message], labels: Sequence[str]
    ) -> list[Content | None]:
        """What each document holds to embed; tensors are encoded in another thread."""
        has_tensor = any(document.HasField("tensor") for document in documents)
        if has_tensor:
            return await asyncio.to_thread(self._read, documents, labels)
        return self._read(documents, labels)

    def _read(self, documents: Sequence[Message], labels: Sequence[str]) -> list[Content | None]:
        contents = []
        for document, label in zip(documents, labels, strict=True):
            try:
                contents.append(content_of(document, self._max_pixels))
            except ServiceError as error:
                raise about(label, error) from None
        return contents

    def _model(self, name: str) -> ModelChoice:
        if name not in self._models:
            known = ", ".join(known for known in self._models if known)
            raise BadRequest(f"there is no model {name!r} here; there are: {known}")
        return self._models[name]


def endpoint_of(path: str) -> Endpoint:
    """The endpoint of a path such as `/encode` or `/encode/MODEL`; raises NotFound."""
    name, _, model = path.strip("/").partition("/")
    if f"/{name}" not in ENDPOINTS:
        raise NotFound(f"there is no endpoint /{name}; there are: {', '.join(ENDPOINTS)}")
    return Endpoint(f"/{name}", model)


def _whole(labels: Sequence[str], contents: Sequence[Content | None]) -> list[Item]:
    """The items, all of which must have a content; raises a ServiceError."""
    items = []
    for label, content in zip(labels, contents, strict=True):
        if content is None:
            raise about(label, BadRequest("it has neither a text nor an image"))
        items.append(Item(label, content))
    return items


def models_of(inference: Inference) -> dict[str, ModelChoice]:
    """The text tower for each name that a client may give."""
    models: dict[str, ModelChoice] = {"clip": "clip", inference.clip: "clip"}
    if inference.mclip is not None:
        models |= {"mclip": "mclip"}
        if inference.mclip != "auto":
            models.setdefault(inference.mclip, "mclip")
    return models


def check_parameters(parameters: Mapping[str, object]) -> None:
    """Raise BadRequest for parameters that would change the result and are not served."""
    for name in ("access_paths", "traversal_paths"):
        if parameters.get(name, "@r") not in ("@r", "r"):
            raise BadRequest(
                f'parameters.{name}: only "@r", the documents themselves, are embedded'
            )


def limit_of(parameters: Mapping[str, object]) -> int:
    """How many hits a search wants; raises BadRequest."""
    limit = parameters.get("limit", LIMIT)
    if not isinstance(limit, float) or not limit.is_integer():  # numbers of a Struct are floats
        raise BadRequest("parameters.limit must be a whole number")
    if not 1 <= limit <= MAX_HITS:
        raise BadRequest(f"parameters.limit must be 1 to {MAX_HITS}")
    return int(limit)


def labels_of(documents: Sequence[Message]) -> list[str]:
    """The name of each document in messages: its place in the request, and its id."""
    return [f"document {i} ({document.id[:MAX_ID]})" for i, document in enumerate(documents)]
