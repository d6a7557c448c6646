"""The requests of writes, and their decoding to checked messages."""

from typing import Annotated

import msgspec
from flask import Request
from msgspec import Meta

from common.errors import BadRequest, Problem
from common.json_input import decode_json
from front.query import MAX_VALUES, check_post, from_form, json_body
from middle.write_checks import check_metadata
from middle.write_messages import Metadata, PatchQuery

MAX_WRITES = 1000


class NewImage(msgspec.Struct, omit_defaults=True, forbid_unknown_fields=True, kw_only=True):
    """An image to put: exactly one of `image` and `path`."""

    image: (
        Annotated[bytes, Meta(description="an image file, in base64; the server keeps it")] | None
    ) = None
    path: (
        Annotated[
            str,
            Meta(
                description="where an image file is on the server, in a folder of the collection:"
                " absolute, or relative to the folder of config.json"
            ),
        ]
        | None
    ) = None
    metadata: Metadata = {}


class PutRequest(NewImage, omit_defaults=True, forbid_unknown_fields=True, kw_only=True):
    """What to put: exactly one of `image`, `path` and `images`."""

    images: (
        Annotated[
            list[NewImage], Meta(min_length=1, max_length=MAX_WRITES, description="many at once")
        ]
        | None
    ) = None


class DeleteRequest(msgspec.Struct, forbid_unknown_fields=True):
    """What to delete."""

    ids: Annotated[
        list[str], Meta(min_length=1, max_length=MAX_WRITES, description="the ids of images")
    ]


class WriteResult(msgspec.Struct, omit_defaults=True):
    """What became of one of many writes: `id` and `position`, or a problem."""

    id: Annotated[str, Meta(description="the id of the image")] | None = None
    position: Annotated[int, Meta(description="as of a single write")] | None = None
    problem: Annotated[Problem, Meta(description="why nothing was written")] | None = None


class WriteResults(msgspec.Struct):
    """What became of many writes."""

    results: Annotated[list[WriteResult], Meta(description="of each, in order")]


def read_put(request: Request) -> PutRequest:
    """The images to put, in a request's JSON or form; raises a ServiceError."""
    check_post(request)
    if request.mimetype == "multipart/form-data":
        asked = from_form(request, PutRequest)
    else:
        asked = decode_json(json_body(request), PutRequest, MAX_VALUES)
    if asked.images is None:
        _check_image(asked, "give exactly one of image, path, images")
    elif asked.image is not None or asked.path is not None or asked.metadata:
        raise BadRequest("`images` stands alone: each of them has its own `metadata`")
    for place, image in enumerate(asked.images or []):
        _check_image(image, f"`images[{place}]`: give exactly one of image, path")
    return asked


def read_patch(request: Request) -> PatchQuery:
    """The change of an image, in a request's JSON; raises a ServiceError."""
    check_post(request)
    query = decode_json(json_body(request), PatchQuery)
    check_metadata(query.metadata)
    return query


def read_delete(request: Request) -> DeleteRequest:
    """The images to delete, in a request's JSON; raises a ServiceError."""
    check_post(request)
    return decode_json(json_body(request), DeleteRequest)


def _check_image(image: NewImage, otherwise: str) -> None:
    if (image.image is None) == (image.path is None):
        raise BadRequest(otherwise)
    check_metadata(image.metadata)
