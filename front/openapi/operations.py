"""What can be done over the public API: each operation, with what is sent and what comes back."""

from common.wire import MSGPACK
from front.openapi import examples
from front.openapi.collection import collection
from front.openapi.errors import FROM_URL, IMAGE, INDEX, SERVER
from front.openapi.images import images
from front.openapi.parts import (
    CACHED,
    DEADLINE,
    FILE,
    FILTER,
    FRESH,
    Operation,
    as_text,
    file,
    form,
    in_url,
    message,
    reply,
    status,
)
from front.openapi.schemas import Schema
from front.openapi.segment import segment
from front.openapi.writes import writes

TAGS = {
    "Search": "Find images.",
    "Segment": "Find what is under a click.",
    "Classify": "Say what is on images that are sent.",
    "Embed": "The vectors of texts and images.",
    "Images": "The files of the index.",
    "Collection": "What can be searched.",
    "Admin": "For a key with the scope `admin`.",
    "Health": "For whoever watches the server.",
}
URL_PARAMETERS = (
    *("text", "image_url", "id", "region"),
    *("k", "model", "dedup", "min_score", "require_full", "facets", "min_position"),
)
FILTERS = ("bad_filter", "unknown_field", "too_many_values")
MODEL = ("bad_request", "model_unavailable", *IMAGE, "no_embedding", *SERVER)

SEARCH = """Name exactly one of `text`, `image`, `image_url`, `id` and `embedding`. The best hits
come first. `score` is the cosine: higher is better. `coverage` says how much of the index answered.

With `region`, the part of the picture searches, not all of it. Of an `id` this needs a key for the
images, too, and the image itself may be among the hits.

With `filter`, only images that pass are found. `GET /v1/info` lists their fields. `facets` counts
the values of fields among all that pass, as `GET /v1/facets` does.

As a form, `image` is a file, `region` has commas (`0.5,0,1,1`), `filter` is JSON, and `facets` may
be repeated."""
SEARCH_BY_URL = "Takes what an address can hold: no `image` and no `embedding`. See POST."
CLASSIFY = """With `labels` the classes are those nearest by text (zero-shot). Without `labels`,
`template` and `model` the image model's own classifier answers, if it has one.

An image that cannot be classified has a `problem` in its place; the others have their `classes`.
When none can be, the reply is an error: that of the image with the highest status.

As a form, `image`, `label` and `region` may be repeated; an empty `region` is all of its image.
Send more than 900 labels as JSON."""
EMBED = """Send `texts` or `images`, not both. Each vector has length 1, in the order of the inputs.
`Middle.deadline-ms` is for each 64 of them, with `X-Deadline-Ms` it is `Middle.embed-deadline-ms`.

With `Accept: application/msgpack` (or `application/vnd.msgpack`) the reply is msgpack. Its
`embeddings` are bytes: rows of `dim` little-endian float32 numbers."""
PURGE = "Needs a key, also on a server where nothing else does."
HEALTHZ = "Asks no other server. Where nothing is answered, start the process anew."
READY = "Whether searches can be answered now. A load balancer asks this."
METRICS = "Counters and latencies in the text format of Prometheus: see docs/reference/metrics.md."


def operations(schemas: dict[str, Schema]) -> list[Operation]:
    """All of them, in the order in which they are shown; `schemas` are those of the messages."""
    return [
        *_searches(schemas["SearchQuery"]["properties"]),
        segment(schemas["SegmentRequest"]["properties"]),
        _classify(schemas["ClassifyQuery"]["properties"]),
        Operation(
            method="post",
            path="/v1/embed",
            id="embed",
            tag="Embed",
            summary="Embed texts or images",
            description=EMBED,
            parameters=(FRESH, DEADLINE),
            body=message("EmbedRequest", examples.EMBEDDINGS),
            replies=reply("Unit vectors", "EmbedAnswer", examples.EMBED_ANSWER, MSGPACK),
            errors=MODEL,
        ),
        *writes(schemas["PutRequest"]["properties"]),
        *images(),
        *collection(schemas),
        Operation(
            method="delete",
            path="/v1/cache",
            id="purge",
            tag="Admin",
            summary="Empty the prediction cache",
            description=PURGE,
            replies={"204": {"description": "The cache is empty"}},
            errors=SERVER,
        ),
        *_health(),
    ]


def _searches(fields: dict[str, Schema]) -> list[Operation]:
    hits = reply("The best hits", "Answer", examples.ANSWER)
    hits["200"]["headers"] = CACHED
    errors = (
        *MODEL,
        *FROM_URL,
        *FILTERS,
        "unknown_id",
        "image_gone",
        *INDEX,
        "wrong_shard",
        "behind",
    )
    texts = {
        **{name: fields[name] for name in URL_PARAMETERS},
        "region": as_text(fields["region"]),
        "filter": FILTER,
    }
    upload = form({"image": FILE, **texts}, [], examples.SEARCH_FORM)
    return [
        Operation(
            method="post",
            path="/v1/search",
            id="search",
            tag="Search",
            summary="Search by text, image, id or embedding",
            description=SEARCH,
            parameters=(FRESH, DEADLINE),
            body=message("SearchQuery", examples.SEARCHES) | upload,
            replies=hits,
            errors=(*errors, "wrong_length"),
        ),
        Operation(
            method="get",
            path="/v1/search",
            id="searchByAddress",
            tag="Search",
            summary="Search by text or by id",
            description=SEARCH_BY_URL,
            parameters=(
                *(in_url(name, field) for name, field in texts.items()),
                FRESH,
                DEADLINE,
            ),
            # 414 is answered before it gets to us, so without a problem
            replies={**hits, "414": {"description": "The text is too long: send it by POST"}},
            errors=errors,
        ),
    ]


def _classify(fields: dict[str, Schema]) -> Operation:
    files = {"type": "array", "items": FILE, "maxItems": fields["images"]["maxItems"]}
    labels = {"type": "array", "items": {"type": "string"}}
    regions = {**labels, "description": "of each image the part to classify; empty: all of it"}
    texts = {name: fields[name] for name in ("template", "top", "model")}
    upload = form(
        {"image": files, "region": regions, "label": labels, **texts},
        ["image"],
        examples.CLASSIFY_FORM,
    )
    return Operation(
        method="post",
        path="/v1/classify",
        id="classify",
        tag="Classify",
        summary="Classify images",
        description=CLASSIFY,
        parameters=(FRESH, DEADLINE),
        body=message("ClassifyQuery", examples.CLASSES) | upload,
        replies=reply("Classes", "ClassifyAnswer", examples.CLASSIFY_ANSWER),
        errors=MODEL,
    )


def _health() -> list[Operation]:
    return [
        Operation(
            method="get",
            path="/healthz",
            id="healthz",
            tag="Health",
            summary="Whether the process is alive",
            description=HEALTHZ,
            replies=status("It is", "alive"),
        ),
        Operation(
            method="get",
            path="/ready",
            id="ready",
            tag="Health",
            summary="Whether searches can be answered",
            description=READY,
            replies=status("They can", "ready"),
            errors=("not_ready", "draining"),
        ),
        Operation(
            method="get",
            path="/metrics",
            id="metrics",
            tag="Health",
            summary="Metrics for Prometheus",
            description=METRICS,
            replies=file("All metrics of this service, of all its workers together", "text/plain"),
        ),
    ]
