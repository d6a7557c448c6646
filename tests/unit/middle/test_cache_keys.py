"""Equal keys stand for equal answers."""

import pytest

from middle.cache_keys import embedding_key, image_file, normal_text, result_key
from middle.messages import Query


@pytest.mark.parametrize(
    ("text", "normal"),
    [
        ("red  bicycle", "red bicycle"),
        ("\tred\n bicycle ", "red bicycle"),
        ("cafe\u0301", "caf\u00e9"),
        ("\uff23\uff21\uff34", "CAT"),
        ("ﬁre\u3000truck", "fire truck"),
        ("ﾈｺ", "ネコ"),
        ("Red", "Red"),
        ("", ""),
    ],
)
def test_texts_that_are_embedded_alike_are_one(text: str, normal: str) -> None:
    """Kind F: plain, composed letters, single spaces; letters keep their case."""
    assert normal_text(text) == normal


def test_an_embedding_is_known_by_its_input_and_its_model() -> None:
    """Equal inputs of one model have one key, all others have their own."""
    red, file = "red", image_file(b"file")
    keys = [
        embedding_key("a", red),
        embedding_key("b", red),
        embedding_key("a", "blue"),
        embedding_key("a", file),
        embedding_key("a", image_file(b"other")),
        embedding_key("a", image_file(b"file", (0, 0, 1, 0.5))),
        embedding_key("a", image_file(b"file", (0, 0, 0.5, 1))),
    ]

    assert len(set(keys)) == len(keys)
    assert keys[3] == embedding_key("a", image_file(b"file"))


def test_an_answer_is_known_by_all_that_it_depends_on() -> None:
    """Every field of the query, the index, the models, how the index is walked."""
    about = ("v1", "digest", "digest", 64)
    query = Query(text="red", k=5)
    others = [
        result_key(Query(text="red", k=6), None, *about),
        result_key(Query(text="red", k=5, dedup="near"), None, *about),
        result_key(Query(text="red", k=5, min_score=0.1), None, *about),
        result_key(Query(text="red", k=5, require_full=True), None, *about),
        result_key(Query(text="red", k=5, model="clip"), None, *about),
        result_key(query, None, "v1", "digest", "digest", 65),
        result_key(query, None, "v1", "other", "digest", 64),
        result_key(query, image_file(b"file"), *about),
        result_key(query, image_file(b"other"), *about),
        result_key(query, image_file(b"file", (0, 0, 1, 0.5)), *about),
    ]

    assert len({result_key(query, None, *about), *others}) == len(others) + 1
    assert result_key(query, None, *about) == result_key(Query(k=5, text="red"), None, *about)


def test_an_image_is_not_part_of_a_key_but_its_digest() -> None:
    """Two queries with the same file have one key, though only one has its bytes at hand."""
    file = image_file(b"file")
    query = Query(image=b"file")

    assert result_key(query, file, "v1") == result_key(Query(image=b""), file, "v1")
    assert query.image == b"file"
