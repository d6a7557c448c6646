"""Sessions of ONNX Runtime, on the CPU, CUDA or TensorRT."""

import os
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from common.config import CHECKOUT
from common.errors import ConfigError, first_line
from common.files import sha256_of_all
from common.wire import Matrix
from inference.clip.session import Input, SessionOptions, files_of, variant

# Else its import writes in the home folder, starts a thread that sends what it has counted, and a
# process that is forked then cannot end: it aborts. To be set before the import.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"
import onnxruntime

DTYPES = {
    "tensor(float)": np.float32,
    "tensor(float16)": np.float16,
    "tensor(int32)": np.int32,
    "tensor(int64)": np.int64,
    "tensor(uint8)": np.uint8,
}

HAS_CUDA = "CUDAExecutionProvider" in onnxruntime.get_available_providers()
FP16_CRASH = ["MatmulTransposeFusion"]
"""Optimizers with which ONNX Runtime 1.31 crashes (segmentation fault) on a float16 graph."""


class OnnxSession:
    """A `session.Session` of ONNX Runtime."""

    def __init__(self, path: Path, options: SessionOptions, *, tensorrt: bool = False) -> None:
        """Raises ConfigError for a device or precision that is not available."""
        if options.precision == "bf16":
            raise ConfigError(
                "ONNX Runtime has no bf16: use openvino or torch, or another precision"
            )
        given = path
        # TensorRT itself converts a float32 network to float16.
        if options.precision != "fp32" and not (tensorrt and options.precision == "fp16"):
            path = variant(path, options.precision)
        providers = _providers(path, options, tensorrt)
        settings = onnxruntime.SessionOptions()
        settings.intra_op_num_threads = options.threads
        # Other processes share these cores, so threads without work must not spin.
        settings.add_session_config_entry("session.intra_op.allow_spinning", "0")
        settings.enable_cpu_mem_arena = settings.enable_mem_pattern = options.keep_memory
        try:
            self._session = onnxruntime.InferenceSession(
                str(path),
                settings,
                providers=providers,
                disabled_optimizers=FP16_CRASH if options.precision == "fp16" else [],
            )
        except Exception as error:  # ONNX Runtime's errors have no other class in common
            raise ConfigError(f"{path}: {first_line(error)}") from None
        if (first := providers[0][0]) != self._session.get_providers()[0]:
            # If a CUDA library is missing, ONNX Runtime logs this and uses the next provider.
            raise ConfigError(
                f"ONNX Runtime cannot use {first} here: see its messages above,"
                " or set Inference.device to cpu"
            )
        self.device = options.device
        self.inputs = tuple(
            Input(argument.name, _sizes(argument.shape), _dtype(path, argument.type))
            for argument in self._session.get_inputs()
        )
        self.outputs = tuple(result.name for result in self._session.get_outputs())
        # With one thread, a call computes in the thread that calls: then calls may overlap.
        may_share = options.device.kind == "cpu" and options.threads == 1
        self._open_again = (
            None if may_share else partial(OnnxSession, given, options, tensorrt=tensorrt)
        )

    def replica(self) -> "OnnxSession":
        """This session itself, if its calls may overlap, else another session."""
        return self._open_again() if self._open_again else self

    def run(self, feed: Mapping[str, NDArray[Any]], output: int = 0) -> Matrix:
        """Compute one output for a batch."""
        return self.run_named(feed, [self.outputs[output]])[0]

    def run_named(self, feed: Mapping[str, NDArray[Any]], outputs: Sequence[str]) -> list[Matrix]:
        """Compute the outputs of some names, each float32 of any shape."""
        found = self._session.run(list(outputs), dict(feed))
        return [np.asarray(values, dtype=np.float32) for values in found]


def _dtype(path: Path, name: str) -> Any:
    if name not in DTYPES:
        raise ConfigError(f"{path} takes {name}; {', '.join(DTYPES)} can be given")
    return DTYPES[name]


def _sizes(shape: list[int | str | None]) -> tuple[int | None, ...]:
    return tuple(size if isinstance(size, int) else None for size in shape)


def _providers(path: Path, options: SessionOptions, tensorrt: bool) -> list[tuple[str, Any]]:
    """The execution providers and their options. The first provider that can run a node runs it."""
    kind, number = options.device
    if kind == "cpu" and not tensorrt:
        return [("CPUExecutionProvider", {})]
    if kind != "cuda":
        raise ConfigError(f"ONNX Runtime{' with TensorRT' * tensorrt} does not run on {kind}")
    wanted: list[Any] = [("CUDAExecutionProvider", {"device_id": number})]
    if tensorrt:
        half = options.precision == "fp16"
        # A folder for each network: by name they would collide, as each is called model.onnx.
        folder = CHECKOUT / "data/tensorrt" / sha256_of_all(files_of(path))
        cache = {"trt_engine_cache_enable": True, "trt_engine_cache_path": str(folder)}
        wanted.insert(
            0,
            ("TensorrtExecutionProvider", {"device_id": number, "trt_fp16_enable": half, **cache}),
        )
    for name, _ in wanted:
        if name not in onnxruntime.get_available_providers():
            raise ConfigError(f"this ONNX Runtime has no {name}: pip install onnxruntime-gpu")
    onnxruntime.preload_dlls()  # CUDA and cuDNN, if pip installed them
    return [*wanted, ("CPUExecutionProvider", {})]
