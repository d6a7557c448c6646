"""The operations that give the files of the index."""

from collections.abc import Sequence

from front.openapi.errors import SERVER
from front.openapi.parts import IMAGE_ID, Operation, file

IMAGE_FILE = "Ranges and `If-None-Match` are understood."
THUMBNAIL = "Its longer side has at most as many pixels as `Front.thumbnail-pixels`."
PREVIEW = """Its longer side has at most as many pixels as `Front.preview-pixels`. It is there for
every image, also for one that browsers cannot show (HEIC, TIFF, RAW)."""


def images() -> list[Operation]:
    """The operations."""
    missing = ("unknown_id", "image_gone", "no_index", "wrong_shard", "behind")
    errors = ("bad_request", *missing, *SERVER)
    return [
        Operation(
            method="get",
            path="/v1/images/{id}",
            id="image",
            tag="Images",
            summary="The file of an image",
            description=IMAGE_FILE,
            parameters=(IMAGE_ID,),
            replies=file("The file as it was indexed", "image/*"),
            errors=(*errors, "requested_range_not_satisfiable"),
        ),
        _rendition("thumbnail", "A small JPEG of an image", THUMBNAIL, errors),
        _rendition("preview", "A JPEG of an image that fills a screen", PREVIEW, errors),
    ]


def _rendition(kind: str, summary: str, description: str, errors: Sequence[str]) -> Operation:
    return Operation(
        method="get",
        path=f"/v1/images/{{id}}/{kind}",
        id=kind,
        tag="Images",
        summary=summary,
        description=description,
        parameters=(IMAGE_ID,),
        replies=file(f"The {kind}", "image/jpeg"),
        errors=errors,
    )
