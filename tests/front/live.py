"""Writing to a running system, as tests do it."""

import base64
import json
from typing import Any

from devtools.services import Service
from tests.front.front_client import Reply
from tests.front.pictures import encoded, noise

IMAGES = "/v1/images"


def png(seed: int) -> bytes:
    """An image of noise, by its number."""
    return encoded(noise(seed), "PNG")


def in_base64(image: bytes) -> str:
    """An image as JSON has it."""
    return base64.b64encode(image).decode()


def put(front: Service, image: bytes, **metadata: Any) -> Reply:
    """The reply to an image that is put as JSON."""
    message = {"image": in_base64(image), "metadata": metadata}
    return front.request("POST", IMAGES, json=message)


def upload(front: Service, image: bytes, **metadata: Any) -> Reply:
    """The reply to an image that is put as a form."""
    fields = {"image": ("photo.jpg", image), "metadata": json.dumps(metadata)}
    return front.request("POST", IMAGES, fields=fields)


def patch(front: Service, image_id: str, **metadata: Any) -> Reply:
    """The reply to a change of an image."""
    return front.request("PATCH", f"{IMAGES}/{image_id}", json={"metadata": metadata})


def delete(front: Service, image_id: str) -> Reply:
    """The reply to a deletion."""
    return front.request("DELETE", f"{IMAGES}/{image_id}")


def written(reply: Reply, status: int = 200) -> tuple[str, int]:
    """The id and the position of a write that went well."""
    assert status == reply.status, reply.data
    found = reply.json()
    assert {"id", "position"} == set(found)
    return found["id"], found["position"]


def hits(service: Service, **query: Any) -> dict[str, Any]:
    """What a search finds, by id; its shards have all answered."""
    path = "/v1/search" if service.request("GET", "/openapi.json").status == 200 else "/search"
    answer = service.post(path, {"k": 100, "require_full": True, **query})
    assert answer["position"] >= query.get("min_position", 0)
    return {hit["id"]: hit for hit in answer["hits"]}


def files(front: Service, image_id: str) -> list[Reply]:
    """The file of an image, its thumbnail and its preview."""
    path = f"{IMAGES}/{image_id}"
    return [front.request("GET", place) for place in (path, f"{path}/thumbnail", f"{path}/preview")]
