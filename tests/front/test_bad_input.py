import json
from collections.abc import Iterator
from typing import Any

import pytest

from devtools.services import Cluster
from devtools.tiny_model import DIM
from tests.front import pictures
from tests.front.front_client import ask, assert_problem, embed, in_base64, post
from tests.front.pictures import encoded, noise

DEEP = 100_000  # levels: a parser that recurses would overflow its stack
ZEROS = "0" * 32
PICTURE = encoded(noise(1), "PNG")


@pytest.fixture(autouse=True)
def _good_after_bad(cluster: Cluster) -> Iterator[None]:
    """After every bad input the next good request succeeds."""
    yield
    assert ask(cluster, text="a red square").status == 200


def query(**fields: Any) -> bytes:
    """A query in JSON, good but for what is given."""
    return json.dumps({"text": "red", **fields}).encode()


MALFORMED = {
    "empty": b"",
    "cut": b'{"text": "red"',
    "trailing": b'{"text": "red"} {}',
    "array": b"[]",
    "string": b'"red"',
    "number": b"1",
    "null": b"null",
    "deep arrays": b"[" * DEEP,
    "deep in a field": b'{"text": ' + b"[" * DEEP + b"]" * DEEP + b"}",
    "deep in an unknown field": b'{"x": ' + b"[" * (DEEP - 50) + b"]" * (DEEP - 50) + b"}",
    "byte order mark": b'\xef\xbb\xbf{"text": "red"}',
    "UTF-16": '{"text": "red"}'.encode("utf-16"),
    "lone surrogate": b'{"text": "\\ud800"}',
    "swapped surrogates": b'{"text": "\\udc00\\ud800"}',
    "surrogate in UTF-8": b'{"text": "\xed\xa0\x80"}',
    "invalid UTF-8": b'{"text": "\xff"}',
    "overlong UTF-8": b'{"text": "\xc0\xaf"}',
    "number for a text": b'{"text": 5}',
    "unknown field": query(colour="red"),
    "repeated field": b'{"text": "red", "k": 5, "k": 5}',
    "repeated in other words": b'{"text": "red", "\\u0074ext": "red"}',
    "unknown model": query(model="gpt"),
    "unknown dedup": query(dedup="all"),
    "number for a bool": query(require_full=1),
    "high min_score": query(min_score=1.1),
    "min_score NaN": b'{"text": "red", "min_score": NaN}',
    "bad base64": b'{"image": "?"}',
    "cut base64": b'{"image": "YQ"}',
}


@pytest.mark.parametrize("body", MALFORMED.values(), ids=MALFORMED)
def test_a_body_that_is_no_query_is_refused(cluster: Cluster, body: bytes) -> None:
    """What is not JSON, not an object or not a query is answered with 400."""
    assert_problem(post(cluster, body), 400, "bad_request")


@pytest.mark.parametrize("body", MALFORMED.values(), ids=MALFORMED)
def test_middle_refuses_the_same(cluster: Cluster, body: bytes) -> None:
    """Load tests and scripts aim at middle itself, which must not trust them more."""
    headers = {"Content-Type": "application/json"}
    response = cluster.middle.request("POST", "/search", body=body, headers=headers)

    assert_problem(response, 400, "bad_request")


K = ("0", "-1", "1.5", "10.0", "true", '"10"', "null", "NaN", "Infinity", "[]", "1001", "9" * 5000)


@pytest.mark.parametrize("k", K, ids=[k[:9] for k in K])
def test_a_k_that_is_no_number_of_hits_is_refused(cluster: Cluster, k: str) -> None:
    """Only whole numbers of 1 to 1000 are a k."""
    assert_problem(post(cluster, b'{"text": "red", "k": %s}' % k.encode()), 400, "bad_request")


FACETS = (
    '"format"',
    "null",
    "[1]",
    '[["format"]]',
    '{"format": 1}',
    "1",
    '["path"' + 8 * ',"path"' + "]",
)


@pytest.mark.parametrize("facets", FACETS)
def test_facets_that_are_no_list_of_fields_are_refused(cluster: Cluster, facets: str) -> None:
    """One to eight texts."""
    body = b'{"text": "red", "facets": %s}' % facets.encode()
    assert_problem(post(cluster, body), 400, "bad_request")


def test_a_k_over_the_collection_gives_all_of_it(cluster: Cluster) -> None:
    """Asking for more hits than there are images is no error."""
    assert len(ask(cluster, text="red", k=1000).json()["hits"]) == pictures.COUNT


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "", "json"])
@pytest.mark.parametrize("path", ["/v1/search", "/v1/embed"])
def test_another_content_type_is_refused(cluster: Cluster, path: str, kind: str) -> None:
    """A body is JSON or, for a search, a form; anything else is 415."""
    response = post(cluster, query(), path, kind)

    assert_problem(response, 415, "unsupported_media_type")


@pytest.mark.parametrize("encoding", ["gzip", "br", "deflate"])
@pytest.mark.parametrize("kind", ["application/json", "multipart/form-data; boundary=x"])
def test_a_compressed_body_is_refused(cluster: Cluster, kind: str, encoding: str) -> None:
    """Bodies are taken as they are, so that none can be a bomb."""
    headers = {"Content-Type": kind, "Content-Encoding": encoding}
    response = cluster.front.request("POST", "/v1/search", body=query(), headers=headers)

    assert_problem(response, 415, "unsupported_media_type")


SOURCES: list[dict[str, Any]] = [
    {},
    {"k": 3},
    {"text": None},
    {"text": "red", "id": ZEROS},
    {"text": "red", "image": "YWJj"},
    {"id": ZEROS, "embedding": [1.0] * DIM},
    {"text": "red", "image": "YWJj", "id": ZEROS, "embedding": [1.0] * DIM},
]


@pytest.mark.parametrize("fields", SOURCES, ids=lambda fields: "+".join(fields) or "none")
def test_a_query_has_exactly_one_subject(cluster: Cluster, fields: dict[str, Any]) -> None:
    """None or two of text, image, id and embedding are 400."""
    assert_problem(ask(cluster, **fields), 400, "bad_request")


INVISIBLE = [
    *("", " ", "\t\r\n", "\u200b\u2060", "\u3000", "\u0301", "\0"),
    *("\u2800", "\u3164", "\u115f\u1160", "\uffa0", "\U0001d159", "\u2800 \u3164\ufe0f\u2062"),
]


@pytest.mark.parametrize("text", INVISIBLE, ids=ascii)
def test_a_text_that_shows_nothing_is_refused(cluster: Cluster, text: str) -> None:
    """Kind F: empty and invisible texts are 400, to search by and to embed."""
    assert_problem(ask(cluster, text=text), 400, "bad_request")
    message = json.dumps({"texts": ["red", text]}).encode()
    assert_problem(post(cluster, message, "/v1/embed"), 400, "bad_request")


def test_a_text_of_2000_characters_is_the_longest(cluster: Cluster) -> None:
    """2,000 characters are answered, with a warning where the model cuts them; more are 400."""
    longest = "red " * 500

    answer = ask(cluster, text=longest).json()

    assert answer["warnings"] == ["the text was cut to the model's 8 tokens"]
    assert ask(cluster, text="red").json()["warnings"] == []
    assert_problem(ask(cluster, text=longest + "!"), 400, "bad_request")


EMBEDDINGS = {
    "two dimensions": "[[1.0]]",
    "strings": '["1.0"]',
    "null": "[null]",
    "an object": "{}",
    "NaN": "[NaN]",
    "infinity": "[Infinity]",
    "overflow": "[1e999]",
    "huge": "[1e300, 1e300]",
    "huge integer": f"[{'9' * 5000}]",
    "zero": f"[{', '.join(['0'] * DIM)}]",
    "all but zero": f"[{', '.join(['1e-200'] * DIM)}]",
}


@pytest.mark.parametrize("embedding", EMBEDDINGS.values(), ids=EMBEDDINGS)
def test_an_embedding_that_is_no_direction_is_refused(cluster: Cluster, embedding: str) -> None:
    """An embedding is a list of finite numbers, not all zero."""
    body = f'{{"embedding": {embedding}}}'.encode()

    assert_problem(post(cluster, body), 400, "bad_request")


@pytest.mark.parametrize("number", [0, 1e-200, -1e-30, 1e30, 1e300])
def test_an_embedding_of_no_length_gets_no_further(cluster: Cluster, number: float) -> None:
    """What cannot be made a unit vector is refused before it shares a batch with other queries."""
    response = ask(cluster, embedding=[number] * DIM)

    assert "an embedding must be finite and not zero" == response.json()["detail"]


@pytest.mark.parametrize("length", [0, 1, DIM - 1, DIM + 1, 8193])
def test_an_embedding_of_another_length_is_refused(cluster: Cluster, length: int) -> None:
    """An embedding has as many numbers as the index; the code says that it is this."""
    assert_problem(ask(cluster, embedding=[1.0] * length), 400, "wrong_length")


def test_an_id_that_nothing_has_is_not_found(cluster: Cluster) -> None:
    """A well-formed id that no image has is 404, wherever it is used."""
    assert_problem(ask(cluster, id=ZEROS), 404, "unknown_id")
    for path in (f"/v1/images/{ZEROS}", f"/v1/images/{ZEROS}/thumbnail"):
        assert_problem(cluster.front.request("GET", path), 404, "unknown_id")


@pytest.mark.parametrize("id_", ["x", "0" * 31, "0" * 33, "A" * 32, "%3f", ZEROS + "%3fx", "%ff"])
def test_a_malformed_id_is_refused(cluster: Cluster, id_: str) -> None:
    """What cannot be an id is 400, wherever it is used."""
    assert_problem(ask(cluster, id=id_), 400, "bad_request")
    for path in (f"/v1/images/{id_}", f"/v1/images/{id_}/thumbnail"):
        assert_problem(cluster.front.request("GET", path), 400, "bad_request")


INPUTS: list[dict[str, Any]] = [
    {},
    {"texts": []},
    {"texts": ["red"], "images": ["YWJj"]},
    {"texts": "red"},
    {"texts": ["red"] * 2049},
    {"images": [in_base64(PICTURE)] * 65},
    {"images": ["?"]},
    {"texts": ["red"], "k": 1},
]


@pytest.mark.parametrize("inputs", INPUTS, ids=str)
def test_inputs_that_cannot_be_embedded_are_refused(
    cluster: Cluster, inputs: dict[str, Any]
) -> None:
    """Up to 2,048 texts or 64 images are embedded together, one kind at a time."""
    response = post(cluster, json.dumps(inputs).encode(), "/v1/embed")

    assert_problem(response, 400, "bad_request")
    assert len(embed(cluster, images=[PICTURE] * 64)["embeddings"]) == 64
