"""What is taken for English, and so goes to clip; texts are normal."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from middle.embed import choose_role
from middle.language import has_words, is_english

ENGLISH = {
    "a sentence": "two kids playing football in the rain",
    "one word": "lighthouse",
    "capitals": "SANTA ON A RED BIKE",
    "accents": "a naïve painting of a café",
    "a possessive": "grandma's dog's bed",
    "a phone's apostrophe": "a dog\u2019s bed",
    "a hyphen": "a black-and-white t-shirt",
    "names": "London, Paris and Barack Obama",
    "one name among six words": "a photo of Przewalski at home",
    "a word and an amount": "5 € ok",
    "a word and an emoji": "birthday 🎂",
}
WORDLESS = {"digits": "2024", "emoji": "🐱🎂", "signs": "♥ → ☂", "nothing": ""}
FOREIGN = {
    "German without umlauts": "ein Hund am Strand",
    "one German word": "Sonnenuntergang",
    "German words that are English too": "alter Mann mit Hut",
    "German with umlauts": "ein Vogel über den Bäumen",
    "French": "un chien sur la plage",
    "Spanish": "perro en la playa",
    "Italian": "montagna con la neve",
    "Dutch": "oude man met hoed",
    "Portuguese": "um gato preto",
    "Polish": "czerwony rower",
    "Turkish": "beyaz kedi",
    "Swedish": "hus i skogen",
    "Indonesian": "anjing di pantai",
    "Russian": "кот",
    "Greek": "γάτα",
    "Arabic": "قطة",
    "Hebrew": "חתול",
    "Hindi": "बिल्ली",
    "Thai": "แมว",
    "Chinese": "一只猫",
    "Japanese": "猫の写真",
    "Korean": "고양이",
    "two words in five": "a photo of eine Katze",
}


@pytest.mark.parametrize("text", ENGLISH.values(), ids=ENGLISH)
def test_english_goes_to_clip(text: str) -> None:
    """Accents, names among words, digits and emoji beside words make no foreign text."""
    assert is_english(text)
    assert "clip" == choose_role(text, "auto")


@pytest.mark.parametrize("text", FOREIGN.values(), ids=FOREIGN)
def test_other_languages_go_to_mclip(text: str) -> None:
    """With and without letters that English lacks, in any script."""
    assert not is_english(text)
    assert has_words(text)
    assert "mclip" == choose_role(text, "auto")


@pytest.mark.parametrize("text", WORDLESS.values(), ids=WORDLESS)
def test_what_has_no_words_goes_to_mclip(text: str) -> None:
    """Kind F: emoji are few bytes that clip hardly knows, and tokens of mclip."""
    assert "mclip" == choose_role(text, "auto")
    assert not has_words(text)


@pytest.mark.parametrize("text", ["a cat", "eine Katze", "猫"])
def test_the_client_s_choice_goes_before_the_language(text: str) -> None:
    """Whoever names a tower gets it."""
    assert "clip" == choose_role(text, "clip")
    assert "mclip" == choose_role(text, "mclip")


def test_threads_agree() -> None:
    """Many threads asking at once get what one gets."""
    texts = [*ENGLISH.values(), *FOREIGN.values()] * 50
    with ThreadPoolExecutor(16) as threads:
        answers = list(threads.map(is_english, texts))

    assert [is_english(text) for text in texts] == answers
