"""Strict decoding of JSON from clients: a limit of values, and no duplicate key."""

import json
import re
from base64 import b64decode
from typing import TypeVar, get_args, get_type_hints

import msgspec

from common.errors import BadRequest

MAX_VALUES = 16_384
"""Commas in a message: twice as many as the longest list, an embedding, has."""
QUICK_KEYS = 32
"""Colons to look at one by one. A message with more colons is rare and gets the full check."""
KEY_BYTES = 64
"""The longest field name, with the white space before its colon."""

BAD_BASE64 = re.compile(r"Invalid base64 encoded string - at `\$\.(\w+)")
BAD_CHOICE = re.compile(r"Invalid enum value .* - at `\$\.(\w+)`")
"""The messages of msgspec, with the name of the field."""

Message = TypeVar("Message")


def decode_json(body: bytes, kind: type[Message], max_values: int = MAX_VALUES) -> Message:
    """Decode an object; raises BadRequest that names the wrong field."""
    if body.count(b",") > max_values:  # before decoding them takes memory
        raise BadRequest("the message has too many values")
    try:
        message = _decode(body, kind)
    except RecursionError:
        raise BadRequest("malformed JSON: nested too deeply") from None
    except UnicodeDecodeError:
        raise BadRequest("malformed JSON: not UTF-8") from None
    except msgspec.ValidationError as error:
        raise refusal(error, kind) from None
    except msgspec.DecodeError as error:
        raise BadRequest(f"malformed JSON: {error}") from None
    if _may_repeat(body):
        _check_keys(body)
    return message


def refusal(error: msgspec.ValidationError, kind: type) -> BadRequest:
    """The error for a message that is not of its kind; says what would be right, where few are."""
    told = str(error)
    if told.startswith("Object contains unknown field"):
        return BadRequest(f"{told}; the fields are {', '.join(get_type_hints(kind))}")
    if found := BAD_CHOICE.fullmatch(told):
        return BadRequest(f"{told}; choose {', '.join(get_args(get_type_hints(kind)[found[1]]))}")
    if found := BAD_BASE64.match(told):
        return BadRequest(
            f"`{found[1]}` is not base64: send a file's bytes in base64, or as a data: URL"
        )
    return BadRequest(told)


def _decode(body: bytes, kind: type[Message]) -> Message:
    try:
        return msgspec.json.decode(body, type=kind)
    except msgspec.ValidationError as error:
        if not (found := BAD_BASE64.match(str(error))):
            raise
    fields = msgspec.json.decode(body)
    given = fields[found[1]]
    fields[found[1]] = list(map(_bare, given)) if isinstance(given, list) else _bare(given)
    return msgspec.convert(fields, kind)


def _bare(given: object) -> object:
    """Base64 without its line breaks and without the head of a data: URL (RFC 2397)."""
    if not isinstance(given, str):
        return given
    data = _data_of_url(given)
    return "".join((given if data is None else data).split())


def _data_of_url(text: str) -> str | None:
    """What a `data:` URL of base64 (RFC 2397) holds; None for another text."""
    head, comma, data = text.partition(",")
    is_url = comma and head[:5].lower() == "data:" and head[-7:].lower() == ";base64"
    return data if is_url else None


def read_data_url(text: str) -> bytes | None:
    """The bytes in a `data:` URL of base64 (RFC 2397); None for another text, raises BadRequest."""
    data = _data_of_url(text)
    if data is None:
        return None
    try:
        return b64decode("".join(data.split()), validate=True)
    except ValueError:
        raise BadRequest("a data: URL is not base64") from None


def _may_repeat(body: bytes) -> bool:
    """Whether a key may be there twice. Of duplicate keys msgspec silently takes the last.

    Looks at the quoted text before each colon. The message was decoded, so each key is a field's
    name, plain or with escapes. A colon inside a text at most causes the full check.
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
    """Raise BadRequest for a duplicate key."""

    def check(pairs: list[tuple[str, object]]) -> None:
        if len(dict(pairs)) < len(pairs):
            raise BadRequest("a field is given twice")

    json.loads(body, object_pairs_hook=check, parse_int=float)  # int() takes 4,300 digits at most
