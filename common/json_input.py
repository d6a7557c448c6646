"""JSON from strangers, read strictly: no more values than make sense, and no key twice."""

import json
from typing import TypeVar

import msgspec

from common.errors import BadRequest

MAX_VALUES = 16_384
"""Commas in a message: twice as many as its longest list, an embedding, has."""
QUICK_KEYS = 32
"""More colons than keys and texts mostly have: up to here looking at each is quicker."""
KEY_BYTES = 64
"""The longest name of a field, and white space before its colon."""

Message = TypeVar("Message")


def decode_json(body: bytes, kind: type[Message]) -> Message:
    """Decode an object that holds no other object; raises BadRequest naming the field at fault."""
    if body.count(b",") > MAX_VALUES:  # before memory is spent on them
        raise BadRequest("the message has too many values")
    try:
        message = msgspec.json.decode(body, type=kind)
    except RecursionError:
        raise BadRequest("malformed JSON: nested too deeply") from None
    except UnicodeDecodeError:
        raise BadRequest("malformed JSON: not UTF-8") from None
    except msgspec.ValidationError as error:
        raise BadRequest(str(error)) from None
    except msgspec.DecodeError as error:
        raise BadRequest(f"malformed JSON: {error}") from None
    if _may_repeat(body):
        _check_keys(body)
    return message


def _may_repeat(body: bytes) -> bool:
    """Whether a key may be there twice, from what stands before each colon: msgspec takes the last.

    The message was decoded, so each key is the name of a field, written plainly or with escapes;
    what is found in a text besides can only lead to a closer look.
    """
    seen = set()
    colon = body.find(b":")
    for _ in range(QUICK_KEYS):
        if colon < 0:
            return False
        before = body[max(0, colon - KEY_BYTES) : colon].rstrip()
        _, quote, key = before[:-1].rpartition(b'"')
        if not quote or b"\\" in key or key in seen:
            return True
        seen.add(key)
        colon = body.find(b":", colon + 1)
    return True


def _check_keys(body: bytes) -> None:
    """Raise BadRequest for a key that is there twice."""

    def check(pairs: list[tuple[str, object]]) -> None:
        if len(dict(pairs)) < len(pairs):
            raise BadRequest("a field is given twice")

    json.loads(body, object_pairs_hook=check, parse_int=float)  # int refuses 5,000 digits
