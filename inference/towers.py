"""The two towers of a model on disk, run by ONNX Runtime."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
import onnxruntime

from common.wire import Matrix
from inference.images import Pixels
from inference.tokens import TextTokenizer, buckets, pad


class Prepared(NamedTuple):
    """A text in the form that its tower's `embed` takes, and what its sender should know."""

    value: Any
    warning: str | None = None


class TextTower(Protocol):
    """Embeds texts; `prepare` may run in many threads, `embed` in one at a time."""

    def prepare(self, text: str) -> Prepared:
        """Make a text ready."""

    def embed(self, values: Sequence[Any]) -> Matrix:
        """Embed the values of prepared texts: unit rows, float32 [n, dim]."""


def open_session(path: Path, threads: int) -> onnxruntime.InferenceSession:
    """Load an ONNX file to run with `threads` threads, or one a core for 0."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads or os.cpu_count() or 1
    # Our other processes share these cores: do not burn them while waiting for work.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def unit_rows(rows: Matrix) -> Matrix:
    """Scale each row to length 1; a row that cannot be (zero, not finite) becomes NaN."""
    with np.errstate(divide="ignore", invalid="ignore"):
        unit: Matrix = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    return unit.astype(np.float32, copy=False)


class OnnxImageTower:
    """`visual/model.onnx`."""

    def __init__(self, path: Path, threads: int) -> None:
        self._session = open_session(path, threads)
        self._input = self._session.get_inputs()[0].name
        self._output = self._session.get_outputs()[0].name

    def embed(self, images: Sequence[Pixels]) -> Matrix:
        """Embed preprocessed images, each float32 [3, height, width]: unit rows [n, dim]."""
        (rows,) = self._session.run([self._output], {self._input: np.stack(images)})
        return unit_rows(rows)


class OnnxTextTower:
    """`textual/model.onnx` with its tokenizer."""

    def __init__(self, path: Path, tokenizer: TextTokenizer, threads: int) -> None:
        self._tokenizer = tokenizer
        self._session = open_session(path, threads)
        self._inputs = self._session.get_inputs()
        self._output = self._session.get_outputs()[0].name
        length = self._inputs[0].shape[1]
        self._fixed_length = length if isinstance(length, int) else None

    def prepare(self, text: str) -> Prepared:
        """The token ids of a text."""
        ids, cut = self._tokenizer.tokens(text)
        warning = f"the text was cut to the model's {len(ids)} tokens" if cut else None
        return Prepared(ids, warning)

    def embed(self, values: Sequence[list[int]]) -> Matrix:
        """Embed token ids, those of like length together: unit rows [n, dim]."""
        groups = buckets([len(ids) for ids in values])
        parts = [self._run([values[i] for i in group]) for group in groups]
        rows = np.empty((len(values), parts[0].shape[1]), dtype=np.float32)
        for group, part in zip(groups, parts, strict=True):
            rows[group] = part
        return unit_rows(rows)

    def _run(self, texts: list[list[int]]) -> Matrix:
        ids, mask = pad(texts, self._tokenizer.pad_id, self._fixed_length)
        feed = {
            one.name: (mask if "mask" in one.name else ids).astype(_numpy_type(one.type))
            for one in self._inputs
        }
        rows: Matrix = self._session.run([self._output], feed)[0]
        return rows


def _numpy_type(onnx_type: str) -> type[np.int32] | type[np.int64]:
    return np.int32 if onnx_type == "tensor(int32)" else np.int64
