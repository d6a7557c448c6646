import json
from typing import Any

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from common.errors import BadRequest
from common.json_input import KEY_BYTES, QUICK_KEYS, decode_json, read_data_url


class Sample(msgspec.Struct, forbid_unknown_fields=True):
    """A message as ours are: texts, numbers and lists of these."""

    text: str = ""
    labels: list[str] = []
    k: int = 0


REPEATED = {
    "plain": b'{"text": "a", "text": "b"}',
    "equal": b'{"k": 1, "k": 1}',
    "apart": b'{"text": "a", "k": 1, "text": "b"}',
    "white space": b'{"text" : "a", "text"\n\t\r : "b"}',
    "much white space": b'{"text": "a", "text"' + b" " * 1000 + b': "b"}',
    **{
        f"{count} spaces": b'{"text": "a", "text"' + b" " * count + b': "b"}'
        for count in range(KEY_BYTES - 8, KEY_BYTES + 1)
    },
    "escaped": b'{"text": "a", "\\u0074ext": "b"}',
    "both escaped": b'{"\\u0074ext": "a", "t\\u0065xt": "b"}',
    "after many colons": b'{"text": "%s", "k": 1, "k": 2}' % (b":" * QUICK_KEYS),
    "after a text like a key": b'{"text": "\\"k\\": 5, {", "k": 1, "k": 2}',
}


@pytest.mark.parametrize("body", REPEATED.values(), ids=REPEATED)
def test_a_field_that_is_given_twice_is_refused(body: bytes) -> None:
    """However its name is spelled, and whatever stands around it."""
    with pytest.raises(BadRequest, match="a field is given twice"):
        decode_json(body, Sample)


ONCE: list[dict[str, Any]] = [
    {},
    {"text": "text", "labels": ["text", "k", "labels"]},
    {"text": '"k": 1, "k": 2', "k": 3},
    {"text": "k:k:k:k", "labels": ['"k":', '"k":', "\\"]},
    {"text": ":" * 1000, "labels": [":"] * 1000, "k": 1},
    {"text": '"' + " " * 100 + ":", "k": 1},
]


@pytest.mark.parametrize("message", ONCE, ids=lambda message: str(message)[:40])
def test_texts_that_look_like_fields_are_read(message: dict[str, Any]) -> None:
    """What stands in a text is no field."""
    assert Sample(**message) == decode_json(json.dumps(message).encode(), Sample)


TEXT = st.text(st.sampled_from('k":\\ ,{}\u0074'), max_size=12)
FIELDS = st.one_of(
    st.tuples(st.just("text"), TEXT),
    st.tuples(st.just("labels"), st.lists(TEXT, max_size=3)),
    st.tuples(st.just("k"), st.integers(-9, 9)),
)


@given(st.lists(FIELDS, max_size=5), st.booleans(), st.sampled_from([":", " : ", "\n:\t"]))
@example([("text", ""), ("k", 1), ("text", "")], True, ":")
def test_fields_are_counted_as_they_were_written(
    fields: list[tuple[str, Any]], is_escaped: bool, colon: str
) -> None:
    """Any message is refused just when a field of it is there twice."""
    names = [json.dumps(name) for name, _ in fields]
    if is_escaped:
        names = [f'"\\u{ord(name[1]):04x}{name[2:]}' for name in names]
    pairs = zip(names, fields, strict=True)
    body = ",".join(f"{name}{colon}{json.dumps(value)}" for name, (_, value) in pairs)
    try:
        decode_json(f"{{{body}}}".encode(), Sample)
        is_refused = False
    except BadRequest:
        is_refused = True

    assert is_refused == (len(set(names)) < len(names))


@pytest.mark.parametrize("text", ["a cat", "data: a text, about data", "data:text/plain,a b"])
def test_a_text_that_only_begins_like_a_data_url_is_a_text(text: str) -> None:
    """Only a `data:` URL of base64 holds a file."""
    assert read_data_url(text) is None


def test_a_data_url_holds_the_bytes_of_a_file() -> None:
    """Also with line breaks; what is no base64 is refused."""
    assert read_data_url("data:image/png;base64,YW\nJj") == b"abc"
    with pytest.raises(BadRequest):
        read_data_url("data:image/png;base64,%%%")
