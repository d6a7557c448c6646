"""The operations that tell of the collection, list it, and count its values."""

from front.openapi import examples
from front.openapi.errors import SERVER
from front.openapi.parts import DEADLINE, FILTER, Operation, in_url, reply
from front.openapi.schemas import Schema

INFO = "How many images the index has, its version, and the model that made its vectors."
BROWSE = """The newest first by the field `when`: when a photo was taken, else when its file was
last changed. Of equal times, and without one, by id.

`next` leads to the next page, with the same `filter`. It names the last image of this page, so it
stays valid while images come and go: none is left out or told twice that was there all the time.
A page of which `coverage` is degraded lacks the images of the missing shards."""
FACETS = """How many of the images that pass the filter have which value, exact over all shards that
answered. Of each field the 100 values of most images are told, and in `more` the number of others.
A field of more than 10,000 values among these images, such as `path`, is not counted."""
INDEX = ("no_index", "no_shard", "insufficient_coverage")
ERRORS = ("bad_request", "bad_filter", "unknown_field", "behind", *INDEX, *SERVER)


def collection(schemas: dict[str, Schema]) -> list[Operation]:
    """All of them; `schemas` are those of the messages."""
    listed = schemas["BrowseQuery"]["properties"]
    field = schemas["CountsQuery"]["properties"]["field"]
    return [
        Operation(
            method="get",
            path="/v1/images",
            id="browse",
            tag="Collection",
            summary="The images, newest first",
            description=BROWSE,
            parameters=(
                in_url("filter", FILTER),
                *(in_url(name, listed[name]) for name in ("cursor", "limit", "min_position")),
                DEADLINE,
            ),
            replies=reply("A page of images", "BrowseAnswer", examples.BROWSE_ANSWER),
            errors=(*ERRORS, "bad_cursor"),
        ),
        Operation(
            method="get",
            path="/v1/facets",
            id="facets",
            tag="Collection",
            summary="The values of fields",
            description=FACETS,
            parameters=(
                {**in_url("field", field), "required": True},
                in_url("filter", FILTER),
                in_url("min_position", listed["min_position"]),
                DEADLINE,
            ),
            replies=reply("The values", "FacetsAnswer", examples.FACETS_ANSWER),
            errors=(*ERRORS, "too_many_values"),
        ),
        Operation(
            method="get",
            path="/v1/info",
            id="info",
            tag="Collection",
            summary="What can be searched",
            description=INFO,
            replies=reply("The collection", "Info", examples.INFO),
            errors=("no_index", *SERVER),
        ),
    ]
