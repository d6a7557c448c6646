"""The image tower and the text tower of a model: batches of images or texts to unit rows."""

import threading
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from common.buckets import buckets
from common.errors import ConfigError
from common.wire import Matrix
from inference.clip.images import Pixels
from inference.clip.session import Input, Session
from inference.clip.tokens import TextTokenizer, cut_warning, pad


class Prepared(NamedTuple):
    """A text in the form that `TextTower.embed` takes, and a warning for the sender of the text."""

    value: Any
    warning: str | None = None
    size: int = 1
    """What it costs to embed, in tokens; 1 for each text if all cost the same."""


class TextTower(Protocol):
    """Embeds texts. `prepare` may run in many threads, `embed` in one for each of `replicas`."""

    @property
    def replicas(self) -> Mapping[str, int]:
        """How many there are on each kind of device, the first kind of `Inference.device` first."""

    def prepare(self, text: str) -> Prepared:
        """Convert a text for `embed`."""

    def embed(self, values: Sequence[Any], kind: str | None = None) -> Matrix:
        """Embed the values of prepared texts on a kind of device: unit rows, float32 [n, dim]."""


class SessionPool:
    """The sessions of one tower. A call waits for a free session and uses that session alone."""

    def __init__(self, sessions: Sequence[Session]) -> None:
        self.replicas = Counter(session.device.kind for session in sessions)
        self.inputs = sessions[0].inputs
        self.outputs = sessions[0].outputs
        self._free = list(sessions)
        self._freed = threading.Condition()

    def run(
        self, feed: Mapping[str, NDArray[Any]], output: int = 0, kind: str | None = None
    ) -> Matrix:
        """Compute one output for a batch, on the session of a kind that is free the longest.

        If a session has a fixed batch size, split the batch. With `kind` None, any session may run.
        """
        with self._freed:
            self._freed.wait_for(lambda: self._find(kind))
            session = self._find(kind)[0]
            self._free.remove(session)
        try:
            size = self.inputs[0].shape[0]
            if size is None:
                return session.run(feed, output)
            count = len(next(iter(feed.values())))
            parts = [
                session.run({name: _part(rows, start, size) for name, rows in feed.items()}, output)
                for start in range(0, count, size)
            ]
            return np.concatenate(parts)[:count]
        finally:
            with self._freed:
                self._free.append(session)
                self._freed.notify_all()

    def _find(self, kind: str | None) -> list[Session]:
        return [session for session in self._free if kind in (None, session.device.kind)]


def _part(rows: NDArray[Any], start: int, size: int) -> NDArray[Any]:
    """`size` rows from `start`; if fewer are left, the last row is repeated."""
    part = rows[start : start + size]
    return np.concatenate([part, np.repeat(part[-1:], size - len(part), axis=0)])


def unit_rows(rows: Matrix) -> Matrix:
    """Scale each row to length 1; a row that is zero or not finite becomes NaN."""
    with np.errstate(divide="ignore", invalid="ignore"):
        unit: Matrix = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    return unit.astype(np.float32, copy=False)


class ImageTower:
    """Embeds preprocessed images."""

    def __init__(self, sessions: Sequence[Session], batch_size: int) -> None:
        """`batch_size` is for those who choose: any number of images may be embedded together.

        Raises ConfigError if the sessions do not take normalised images.
        """
        self._session = SessionPool(sessions)
        self._input = self._session.inputs[0]
        shape = self._input.shape
        if len(shape) != 4 or shape[1] not in (3, None) or self._input.dtype == np.uint8:
            raise ConfigError(
                f"the image tower takes {np.dtype(self._input.dtype)}{list(shape)}, not floats"
                " [n, 3, height, width]; some newer exports on the hub do: pin an older revision"
                " (owner/name@revision), or make one with inference/export.py"
            )
        self.batch_size = batch_size
        self.replicas = self._session.replicas
        self.outputs = self._session.outputs

    def embed(self, images: Sequence[Pixels], kind: str | None = None) -> Matrix:
        """Embed preprocessed images, each float32 [3, height, width]: unit rows [n, dim].

        `kind` is that of the device, one of `replicas`; None: any of them.
        """
        return unit_rows(self.run(images, kind=kind))

    def run(self, images: Sequence[Pixels], output: int = 0, kind: str | None = None) -> Matrix:
        """Compute one output for preprocessed images, without scaling: float32 [n, size]."""
        pixels = np.stack(images).astype(self._input.dtype, copy=False)
        return self._session.run({self._input.name: pixels}, output, kind)


class TokenTextTower:
    """A `TextTower` with a tokenizer and sessions."""

    def __init__(
        self, sessions: Sequence[Session], tokenizer: TextTokenizer, sees_padding: bool
    ) -> None:
        """With `sees_padding`, texts are padded to the context length, unless a mask hides padding.

        Raises ConfigError if the sessions do not take rows of tokens.
        """
        self._session = SessionPool(sessions)
        self._tokenizer = tokenizer
        self.pad_id = tokenizer.pad_id
        self.replicas = self._session.replicas
        if any(len(tower_input.shape) != 2 for tower_input in self._session.inputs):
            raise ConfigError(f"a text tower takes rows of tokens, not {self._session.inputs}")
        self._fixed_length = self._session.inputs[0].shape[1]
        if sees_padding and len(self._session.inputs) == 1:
            self._fixed_length = tokenizer.context_length

    def prepare(self, text: str) -> Prepared:
        """The token ids of a text, and a warning if the text was cut."""
        ids, cut = self._tokenizer.tokens(text)
        warning = cut_warning(len(ids)) if cut else None
        return Prepared(ids, warning, 1 if self._fixed_length else len(ids))

    def embed(self, values: Sequence[list[int]], kind: str | None = None) -> Matrix:
        """Embed token ids, grouped by similar length: unit rows, float32 [n, dim]."""
        groups = buckets([len(ids) for ids in values])
        parts = [self._run([values[index] for index in group], kind) for group in groups]
        rows = np.empty((len(values), parts[0].shape[1]), dtype=np.float32)
        for group, part in zip(groups, parts, strict=True):
            rows[group] = part
        return unit_rows(rows)

    def _run(self, texts: list[list[int]], kind: str | None) -> Matrix:
        ids, mask = pad(texts, self.pad_id, self._fixed_length)
        inputs = self._session.inputs
        feed = {tower_input.name: _feed(tower_input, ids, mask) for tower_input in inputs}
        return self._session.run(feed, kind=kind)


def _feed(tower_input: Input, ids: NDArray[Any], mask: NDArray[Any]) -> NDArray[Any]:
    chosen = mask if "mask" in tower_input.name else ids
    return chosen.astype(tower_input.dtype, copy=False)
