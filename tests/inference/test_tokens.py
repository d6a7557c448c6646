"""Cutting and padding texts."""

import json
from pathlib import Path

from devtools.tiny_model import write_tiny_model
from inference.clip.tokens import TextTokenizer, pad


def test_padding_goes_to_the_longest_or_to_a_fixed_length() -> None:
    """Ids are filled up with the pad id, and masked there."""
    ids, mask = pad([[5, 6, 7], [8]], pad_id=1)
    fixed, _ = pad([[5]], pad_id=0, length=4)

    assert ids.tolist() == [[5, 6, 7], [8, 1, 1]]
    assert mask.tolist() == [[1, 1, 1], [1, 0, 0]]
    assert fixed.tolist() == [[5, 0, 0, 0]]


def test_a_long_text_is_cut_and_says_so(tmp_path: Path) -> None:
    """At the context length, special tokens included; a text that just fits is whole."""
    folder = write_tiny_model(tmp_path / "tiny")
    tokenizer = TextTokenizer(folder / "textual/tokenizer.json", 8)

    assert (len(tokenizer.tokens("a " * 8).ids), tokenizer.tokens("a " * 8).cut) == (8, False)
    assert (len(tokenizer.tokens("a " * 9).ids), tokenizer.tokens("a " * 9).cut) == (8, True)


def test_padding_and_truncation_of_the_file_are_not_used(tmp_path: Path) -> None:
    """A tokenizer.json that pads and cuts by itself is told not to; its pad id is kept."""
    folder = write_tiny_model(tmp_path / "tiny")
    path = folder / "textual/tokenizer.json"
    settings = json.loads(path.read_text())
    settings["padding"] = {
        "strategy": {"Fixed": 77},
        "direction": "Right",
        "pad_to_multiple_of": None,
        "pad_id": 3,
        "pad_type_id": 0,
        "pad_token": "red",
    }
    path.write_text(json.dumps(settings))
    tokenizer = TextTokenizer(path, 8)

    assert tokenizer.pad_id == 3
    assert tokenizer.tokens("a").ids == [2]
