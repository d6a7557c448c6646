"""Checks of writes for what their types cannot express."""

import math

from common.errors import BadRequest
from common.wire import encode
from middle.write_messages import MAX_FIELDS, MAX_METADATA_BYTES, MAX_NAME, Metadata, PutQuery

MAX_PATH = 4096
WHOLE = range(-(2**63), 2**63)
"""Whole numbers that filters compare exactly."""


def check_put(query: PutQuery) -> PutQuery:
    """Check an image to put; raises BadRequest."""
    if not query.image:
        raise BadRequest("the image is empty")
    if not 0 < len(query.path) <= MAX_PATH or "\0" in query.path:
        raise BadRequest(f"a path has 1 to {MAX_PATH} characters, none of them 0")
    if not 0 <= query.told_from < len(query.path):
        raise BadRequest("`told_from` is no place in the path")
    check_metadata(query.metadata)
    return query


def check_metadata(metadata: Metadata) -> Metadata:
    """Check metadata, or changes of it; raises BadRequest."""
    if len(metadata) > MAX_FIELDS:
        raise BadRequest(f"`metadata` has {len(metadata)} fields; {MAX_FIELDS} is the limit")
    for name, value in metadata.items():
        if not 0 < len(name) <= MAX_NAME:
            raise BadRequest(f"the name of a field has 1 to {MAX_NAME} characters")
        if isinstance(value, int) and value not in WHOLE:
            raise BadRequest(f"`metadata`: {name!r} is no whole number of 64 bits")
        if isinstance(value, float) and not math.isfinite(value):
            raise BadRequest(f"`metadata`: {name!r} is no finite number")
    if len(encode(metadata)) > MAX_METADATA_BYTES:
        raise BadRequest(f"`metadata` is over {MAX_METADATA_BYTES} bytes")
    return metadata
