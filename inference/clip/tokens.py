"""From text to the token ids that a text tower takes."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from common.errors import ConfigError
from inference.clip.clean import Cleaning, clean

Ids = NDArray[np.int64]


class Tokens(NamedTuple):
    """The token ids of one text, and whether the text was cut because it was too long."""

    ids: list[int]
    cut: bool


class TextTokenizer:
    """A `tokenizer.json` with the context length and the cleaning of its text tower."""

    def __init__(
        self,
        path: Path,
        context_length: int,
        cleaning: Cleaning = "none",
        pad_token: str | None = None,
    ) -> None:
        """Texts are padded with `pad_token`, else with the file's padding token, else with 0.

        Raises OSError, and ConfigError for a file that is no tokenizer.
        """
        self.context_length = context_length
        self._cleaning = cleaning
        try:
            self._tokenizer = Tokenizer.from_buffer(path.read_bytes())
        except ValueError as error:
            raise ConfigError(f"{path}: {error}") from None
        named = self._tokenizer.token_to_id(pad_token) if pad_token else None
        in_file = (self._tokenizer.padding or {}).get("pad_id", 0)
        self.pad_id: int = in_file if named is None else named
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(context_length)

    def tokens(self, text: str) -> Tokens:
        """The tokens of `text`, at most `context_length`, special tokens included."""
        encoding = self._tokenizer.encode(clean(text, self._cleaning))
        return Tokens(encoding.ids, bool(encoding.overflowing))


def cut_warning(tokens: int) -> str:
    """The warning for the sender of a text that was cut to so many tokens."""
    return f"the text was cut to the model's {tokens} tokens"


def pad(texts: Sequence[Sequence[int]], pad_id: int, length: int | None = None) -> tuple[Ids, Ids]:
    """Token ids and attention mask, int64 [n, length], padded to `length` or the longest text."""
    width = length or max(map(len, texts))
    ids = np.full((len(texts), width), pad_id, dtype=np.int64)
    mask = np.zeros_like(ids)
    for row, text in enumerate(texts):
        ids[row, : len(text)] = text
        mask[row, : len(text)] = 1
    return ids, mask
