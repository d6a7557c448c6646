"""Every code of an error that the public API answers with: the one table of them."""

from collections.abc import Iterable
from http.client import responses
from typing import Any, NamedTuple

from common.errors import PROBLEM

REQUEST_ID = "9b0c2f6d4be14a5f8a2f0d8f5f3f6f10"


class Error(NamedTuple):
    """What a code means, and the HTTP status that comes with it."""

    status: int
    meaning: str


ERRORS = {
    "bad_request": Error(400, "The request is wrong. `detail` says how."),
    "bad_filter": Error(400, "The filter is no test and no node, or over a limit."),
    "unknown_field": Error(400, "No image of the index has a field that is named."),
    "bad_cursor": Error(400, "The cursor is none that this server gave."),
    "too_many_values": Error(400, "The field has more than 10,000 values among these images."),
    "wrong_length": Error(400, "The embedding has more or fewer numbers than those of the index."),
    "model_unavailable": Error(400, "The server has no such model."),
    "image_url_off": Error(400, "This server fetches no images: `Front.image-url` is off."),
    "image_url_refused": Error(400, "This server does not fetch from such an address."),
    "image_url_failed": Error(400, "The image could not be fetched."),
    "unauthorized": Error(401, "The key is missing or not valid."),
    "forbidden": Error(
        403, "The key lacks the scope, the server has no keys, or the page is of another site."
    ),
    "unknown_id": Error(404, "No image of the index has this id."),
    "image_gone": Error(410, "The file is gone, broken, or not the one that was indexed."),
    "too_large": Error(413, "The body is too large, or the image has too many pixels."),
    "unsupported_media_type": Error(415, "The content type is not read, or the file is no image."),
    "requested_range_not_satisfiable": Error(416, "The file ends before the range."),
    "misdirected": Error(421, "This server does not answer for the host that was asked for."),
    "unprocessable": Error(422, "The image is broken."),
    "no_segment": Error(422, "The model finds nothing there: send another prompt."),
    "rate_limited": Error(429, "Too many requests. Try again after `Retry-After` seconds."),
    "internal": Error(500, "A fault of the server. Its log has the `request_id`."),
    "no_embedding": Error(500, "The model gave no finite numbers for this input."),
    "no_box_prompt": Error(501, "The model that segments takes no box: send points."),
    "no_log": Error(501, "Nothing can be put or deleted here: `Live.log` is null."),
    "not_implemented": Error(501, "This server cannot do this. `detail` says what to do."),
    "overloaded": Error(503, "Too many requests or bytes. Try again after `Retry-After` seconds."),
    "deadline_exceeded": Error(503, "The time for the answer is over."),
    "unavailable": Error(503, "A server behind this one cannot answer now."),
    "garbled": Error(503, "A server behind this one gave an answer that is damaged."),
    "out_of_memory": Error(503, "There is not enough memory for this request now."),
    "insufficient_coverage": Error(503, "Too few shards of the index answered."),
    "no_shard": Error(503, "No shard of the index answered."),
    "wrong_shard": Error(503, "No server has the shard that the image is in."),
    "no_index": Error(503, "There is no index yet: run prepare."),
    "model_mismatch": Error(503, "The index was made with another model: run prepare again."),
    "behind": Error(503, "A search server has not come to that write yet. Try again."),
    "log_unavailable": Error(503, "The log of puts and deletes cannot be used now. Try again."),
    "live_full": Error(503, "As many images were put as a shard takes: run prepare."),
    "not_ready": Error(503, "A server behind this one is not ready. `detail` says which."),
    "draining": Error(503, "The server was told to stop."),
}
SERVER = ("internal", "overloaded", "deadline_exceeded", "unavailable", "garbled", "out_of_memory")
"""What may become of any request that servers behind front answer."""
IMAGE = ("too_large", "unsupported_media_type", "unprocessable")
"""What may be wrong with an image that is sent."""
FROM_URL = ("image_url_off", "image_url_refused", "image_url_failed")
"""What may be wrong with the address of an image."""
WRITES = ("forbidden", "no_log", "log_unavailable", "behind")
"""What may become of a write, beside what may be wrong with it."""
INDEX = ("no_index", "no_shard", "insufficient_coverage", "model_mismatch")


def error_responses(codes: Iterable[str]) -> dict[str, Any]:
    """The `responses` of an operation that may end in some codes, by status."""
    by_status: dict[int, list[str]] = {}
    for code in ERRORS:  # in the order of the table
        if code in set(codes):
            by_status.setdefault(ERRORS[code].status, []).append(code)
    return {str(status): _response(status, found) for status, found in by_status.items()}


def _response(status: int, codes: list[str]) -> dict[str, Any]:
    schema = {
        "$ref": "#/components/schemas/Problem",
        "properties": {"code": {"enum": codes}, "status": {"const": status}},
    }
    examples = {code: {"value": _problem(code)} for code in codes}
    return {
        "description": "\n".join(f"- `{code}`: {ERRORS[code].meaning}" for code in codes),
        "content": {PROBLEM: {"schema": schema, "examples": examples}},
    }


def _problem(code: str) -> dict[str, Any]:
    status, meaning = ERRORS[code]
    return {
        "type": "about:blank",
        "title": responses[status],
        "status": status,
        "code": code,
        "detail": meaning.replace("`", ""),
        "request_id": REQUEST_ID,
    }
