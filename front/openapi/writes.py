"""The operations that put, change and delete images."""

from front.openapi import examples
from front.openapi.errors import IMAGE, INDEX, SERVER, WRITES
from front.openapi.parts import DEADLINE, FILE, UPLOADED_ID, Operation, form, message, reply
from front.openapi.schemas import Schema

PUT = """Name exactly one of `image`, a file that the server keeps; `path`, a file in a folder of
the collection; and `images`, up to 1,000 of either, which are answered by 200 with a result or a
problem of each. What is answered so is not lost.

The same image at the same path has the same `id`: putting it again replaces its `metadata`, and
does no other harm. So after a 503, when nobody knows what became of it, send it again.

`position` is the place of the write in the log. A search with this `min_position` sees it for sure;
others see it after a moment.

The time of each image is that of `Middle.embed-deadline-ms`. Of many images those that have not
begun after a 503 end likewise.

As a form, `image` is a file and `metadata` is JSON."""
PATCH = """Fields that are not named stay as they are, and null removes a field. Whatever filters
can test can be changed so: the next search by it sees the change."""
DELETE = """It is not found any more, nor are its file and its thumbnail given. A file in a
folder of the collection stays, and prepare leaves it out until it is put again. An uploaded file is
deleted with its image."""
DELETE_MANY = "Each has a result or a problem, in order; an unknown id is a problem of its own."


def writes(fields: dict[str, Schema]) -> list[Operation]:
    """The operations; `fields` are those of an image to put."""
    metadata = {"type": "string", "description": "fields of the image, as JSON"}
    upload = form({"image": FILE, "path": fields["path"], "metadata": metadata}, [], FORM)
    many = reply("Of many: what became of each", "WriteResults", examples.WRITE_RESULTS)
    written = reply("It is put", "Written", examples.WRITTEN)["200"]
    by_id = ("bad_request", "unknown_id", *WRITES, *SERVER, "wrong_shard")
    return [
        Operation(
            method="post",
            path="/v1/images",
            id="put",
            tag="Images",
            summary="Put an image, or many",
            description=PUT,
            parameters=(DEADLINE,),
            body=message("PutRequest", examples.PUTS) | upload,
            replies={**many, "201": written},
            errors=(
                *("bad_request", *IMAGE, "no_embedding", *WRITES, *SERVER),
                *("live_full", *INDEX),
            ),
        ),
        Operation(
            method="patch",
            path="/v1/images/{id}",
            id="patch",
            tag="Images",
            summary="Change the metadata of an image",
            description=PATCH,
            parameters=(UPLOADED_ID, DEADLINE),
            body=message("PatchQuery", examples.PATCHES),
            replies=reply("It is changed", "Written", examples.WRITTEN),
            errors=(*by_id, "unsupported_media_type", "too_large"),
        ),
        Operation(
            method="delete",
            path="/v1/images/{id}",
            id="delete",
            tag="Images",
            summary="Delete an image",
            description=DELETE,
            parameters=(UPLOADED_ID, DEADLINE),
            replies=reply("It is deleted", "Written", examples.WRITTEN),
            errors=by_id,
        ),
        Operation(
            method="post",
            path="/v1/images/delete",
            id="deleteMany",
            tag="Images",
            summary="Delete many images",
            description=DELETE_MANY,
            parameters=(DEADLINE,),
            body=message("DeleteRequest", examples.DELETES),
            replies=reply("What became of each", "WriteResults", examples.WRITE_RESULTS),
            errors=("bad_request", "unsupported_media_type", "too_large", *WRITES, *SERVER),
        ),
    ]


FORM = {"path": "", "metadata": '{"stock": 3}'}
