"""A tower's session on one device, whatever runs it; and opening one for each replica."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from numpy.typing import NDArray

from common.config import Inference
from common.errors import ConfigError
from common.wire import Matrix
from inference.clip.devices import Device, list_devices


class Input(NamedTuple):
    """An input of a session."""

    name: str
    shape: tuple[int | None, ...]
    """None where any size goes."""
    dtype: Any


class Session(Protocol):
    """Arrays in, float32 rows [n, size] out; `run` is called by one thread at a time."""

    inputs: tuple[Input, ...]
    outputs: tuple[str, ...]

    def run(self, feed: Mapping[str, NDArray[Any]], output: int = 0) -> Matrix:
        """Compute one output for a batch, each input [n, ...]."""


class SessionOptions(NamedTuple):
    """What a runtime needs to know to open a session."""

    device: Device
    threads: int
    """Of one session, on the CPU."""
    precision: str
    compiled: bool = False


def open_sessions(path: Path, settings: Inference) -> list[Session]:
    """Open `path`, a tower's ONNX file, once for each replica that `how` asks for.

    Raises ConfigError for what cannot be had here, and MissingPackage.
    """
    devices = list_devices(settings.device, settings.replicas)
    threads = settings.threads or max(1, (os.cpu_count() or 1) // len(devices))
    return [
        _open(path, settings.runtime, SessionOptions(one, threads, settings.precision))
        for one in devices
    ]


def _open(path: Path, runtime: str, options: SessionOptions) -> Session:
    """Only what is used is imported: each runtime is a package of its own."""
    if runtime == "openvino":
        from inference.runtimes.openvino_runtime import OpenVinoSession

        return OpenVinoSession(path, options)
    if runtime in ("torch", "torch-compile"):
        from inference.runtimes.torch_runtime import TorchSession

        return TorchSession(path, options._replace(compiled=runtime == "torch-compile"))
    from inference.runtimes.onnx_runtime import OnnxSession

    return OnnxSession(path, options, tensorrt=runtime == "tensorrt")


def files_of(path: Path) -> list[Path]:
    """An ONNX file, and those beside it that hold the weights of a large one."""
    return sorted(path.parent.glob(f"{path.name}*"))


def variant(path: Path, precision: str) -> Path:
    """The file beside `path` that holds its network in `precision`; raises ConfigError."""
    file = variant_path(path, precision)
    if not file.is_file():
        raise ConfigError(
            f"no {file.name} in {path.parent}: Inference.precision {precision!r} needs it;"
            f" python inference/export.py NAME --precision {precision} makes it"
        )
    return file


def variant_path(path: Path, precision: str) -> Path:
    """What that file is called."""
    return path.with_suffix(f".{precision}.onnx")
