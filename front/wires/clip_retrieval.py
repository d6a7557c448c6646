"""The API of clip-retrieval's back end, for its ClipClient.

https://github.com/rom1504/clip-retrieval
"""

from base64 import b64encode
from typing import Annotated, Any, Literal

import msgspec
from flask import Blueprint, Response

from common.errors import BadRequest, ServiceError
from common.json_input import decode_json
from common.server.reply import json_reply
from common.server.request import take_body
from front.query import SearchQuery
from front.wires.backend import Backend
from middle.messages import MAX_HITS, Hit

INDEX = "clip-search"
DIGITS = 13
"""The first digits of an id are its number: 52 bits, as JSON's numbers hold. Middle takes them in
place of an id."""


class KnnRequest(msgspec.Struct):
    """What ClipClient sends. What is not named here, such as its safety models, changes nothing."""

    text: str | None = None
    image: bytes | None = None
    image_url: str | None = None
    embedding_input: list[float] | None = None
    modality: Literal["image", "text"] = "image"
    num_images: int = 100
    num_result_ids: int | None = None
    deduplicate: bool = False
    use_mclip: bool = False


class MetadataRequest(msgspec.Struct):
    """The numbers of hits."""

    ids: Annotated[list[int], msgspec.Meta(max_length=MAX_HITS)]
    indice_name: str = INDEX


def create(backend: Backend) -> Blueprint:
    """`POST /knn-service`, `POST /metadata` and `GET /indices-list`."""
    wire = Blueprint("clip_retrieval", __name__)

    @wire.post("/knn-service")
    def knn() -> Response:
        asked = decode_json(take_body(), KnnRequest)
        hits = backend.search(_query(asked)).hits
        few = [_few(hit) for hit in hits[asked.num_images :]]
        return json_reply([*(_whole(hit, backend) for hit in hits[: asked.num_images]), *few])

    @wire.post("/metadata")
    def metadata() -> Response:
        asked = decode_json(take_body(), MetadataRequest)
        deadline = backend.new_deadline()
        images = [(number, backend.image(f"{number:0{DIGITS}x}", deadline)) for number in asked.ids]
        return json_reply(
            [
                {"id": number, "metadata": {**image.metadata, "image_path": image.path}}
                for number, image in images
            ]
        )

    @wire.get("/indices-list")
    def indices() -> Response:
        return json_reply([INDEX])

    return wire


def _query(asked: KnnRequest) -> SearchQuery:
    if asked.modality == "text":
        raise BadRequest("modality text: this collection has images only")
    count = max(asked.num_images, asked.num_result_ids or 0)
    given: dict[str, Any]
    if asked.text:  # the first that is not empty counts
        given = {"text": asked.text, "model": "mclip" if asked.use_mclip else "clip"}
    elif asked.image:
        given = {"image": asked.image}
    elif asked.image_url:
        given = {"image_url": asked.image_url}
    else:
        given = {"embedding": asked.embedding_input}
    dedup: Literal["near", "none"] = "near" if asked.deduplicate else "none"
    return SearchQuery(**given, k=max(1, min(count, MAX_HITS)), dedup=dedup)


def _whole(hit: Hit, backend: Backend) -> dict[str, Any]:
    """A hit with its picture, which ClipClient shows."""
    told = {name: hit.metadata.get(name) for name in ("url", "caption")}
    found = {**_few(hit), **told, "image_path": hit.path}
    try:
        return {**found, "image": b64encode(backend.thumbnail(hit.id)).decode()}
    except ServiceError:  # the file is gone, or the key may not see it; the hit is still one
        return found


def _few(hit: Hit) -> dict[str, Any]:
    return {"id": int(hit.id[:DIGITS], 16), "similarity": hit.score}
