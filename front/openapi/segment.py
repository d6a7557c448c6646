"""The operation that segments an image."""

from front.openapi import examples
from front.openapi.errors import FROM_URL, IMAGE, SERVER
from front.openapi.parts import (
    CACHED,
    DEADLINE,
    FILE,
    FRESH,
    Operation,
    as_text,
    form,
    message,
    reply,
)
from front.openapi.schemas import Schema

DESCRIPTION = """Name exactly one of `image`, `image_url` and `id`, and say what is sought in it: by
`points`, of which one at least has 1, by a `box`, or by both. All numbers are parts of 1 of the
picture as it is shown. The `box` of the reply is the `region` of a search for more like it.

`method` says what found the segment. `sam`: the model in `Inference.sam`, Segment Anything. Its
encoding of an image is kept, so further prompts on this image are quick; `X-Cache` says so.
`grabcut`: no model, the colours alone.

The time is that of `Middle.segment-deadline-ms`. An encoding that takes longer goes on: ask again
after `Retry-After`. An `id` needs a key for the images, too.

As a form, `image` is a file, `box` has commas (`0.1,0.1,0.9,0.9`), and `points` is JSON."""


def segment(fields: dict[str, Schema]) -> Operation:
    """The operation; `fields` are those of its message."""
    texts = {
        **{name: fields[name] for name in ("image_url", "id", "mask_format")},
        **{name: as_text(fields[name]) for name in ("points", "box")},
    }
    answer = reply("The segment", "SegmentAnswer", examples.SEGMENT_ANSWER)
    answer["200"]["headers"] = CACHED
    return Operation(
        method="post",
        path="/v1/segment",
        id="segment",
        tag="Segment",
        summary="Find what is under a click or in a box",
        description=DESCRIPTION,
        parameters=(FRESH, DEADLINE),
        body=message("SegmentRequest", examples.SEGMENTS)
        | form({"image": FILE, **texts}, [], examples.SEGMENT_FORM),
        replies=answer,
        errors=(
            *("bad_request", *IMAGE, *FROM_URL, *SERVER),
            *(
                "no_segment",
                "no_box_prompt",
                "not_implemented",
                "unknown_id",
                "image_gone",
                "no_index",
                "wrong_shard",
            ),
        ),
    )
