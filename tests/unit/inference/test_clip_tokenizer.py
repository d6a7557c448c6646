"""CLIP's tokenizer as a file, from a small vocabulary of the same form."""

from pathlib import Path

import pytest
from tokenizers import Tokenizer

from inference.clip.clip_tokenizer import write_clip_tokenizer

START, END = "<start>", "<end>"


class Original:
    """The part of open_clip's SimpleTokenizer that is read: "cat" is one token, "ca" another."""

    def __init__(self) -> None:
        parts = ["c", "a", "t</w>", "t", "ca", "cat</w>", "s</w>", "'s</w>", "'", START, END]
        self.encoder = {name: number for number, name in enumerate(parts)}
        self.decoder = dict(enumerate(parts))
        self.bpe_ranks = {("c", "a"): 0, ("ca", "t</w>"): 1, ("'", "s</w>"): 2}
        self.all_special_ids = (self.encoder[START], self.encoder[END])


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("cat", ["cat</w>"]),
        ("cat's", ["cat</w>", "'s</w>"]),
        ("cat  cat", ["cat</w>", "cat</w>"]),
        ("", []),
    ],
)
def test_words_are_cut_as_the_original_does(tmp_path: Path, text: str, tokens: list[str]) -> None:
    """Between a start and an end."""
    path = tmp_path / "tokenizer.json"
    write_clip_tokenizer(path, Original())
    encoded = Tokenizer.from_file(str(path)).encode(text)

    assert encoded.tokens == [START, *tokens, END]
