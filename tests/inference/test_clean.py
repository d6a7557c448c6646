"""What is done to a text before it is cut into tokens."""

import pytest

from inference.clip.clean import Cleaning, clean


@pytest.mark.parametrize(
    ("cleaning", "text", "expected"),
    [
        ("lower", "  A  Photo\n of\tTEA ", "a photo of tea"),
        ("lower", "don\u2019t \u201cquote\u201d", 'don\'t "quote"'),
        ("lower", "&amp;lt;b&amp;gt; schÃ¶n", "<b> schön"),
        ("whitespace", " Two  Words. ", "Two Words."),
        ("canonicalize", "Big_Red, (Dog)!", "big red dog"),
        ("none", " As  it Is ", " As  it Is "),
    ],
)
def test_texts_are_cleaned_as_in_training(cleaning: Cleaning, text: str, expected: str) -> None:
    """Each way is one of open_clip's; tests/torch compares them with it."""
    assert expected == clean(text, cleaning)
