"""Sessions of OpenVINO, on Intel's CPUs and GPUs. bf16 is fast on a CPU with AMX."""

from collections.abc import Mapping
from copy import copy
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from common.errors import ConfigError, MissingPackage
from common.wire import Matrix
from inference.clip.session import Input, SessionOptions, variant

try:
    import openvino
except ImportError:
    raise MissingPackage("Inference.runtime openvino needs: pip install openvino") from None

PRECISIONS = {"fp32": "f32", "fp16": "f16", "bf16": "bf16", "int8": "f32"}


class OpenVinoSession:
    """A `session.Session` of OpenVINO."""

    def __init__(self, path: Path, options: SessionOptions) -> None:
        """Raises ConfigError for a device that OpenVINO does not run on."""
        kind, number = options.device
        if kind == "cuda":
            raise ConfigError("OpenVINO does not run on cuda")
        if options.precision == "int8":
            path = variant(path, "int8")
        settings: dict[str, Any] = {"INFERENCE_PRECISION_HINT": PRECISIONS[options.precision]}
        if kind == "cpu":
            settings |= {
                "INFERENCE_NUM_THREADS": options.threads * options.replicas,
                "NUM_STREAMS": options.replicas,
                # Pinned, the calling threads of all models would share core 0.
                "ENABLE_CPU_PINNING": False,
            }
        device = "CPU" if kind == "cpu" else f"GPU.{number}"
        try:
            compiled = openvino.Core().compile_model(str(path), device, settings)
        except RuntimeError as error:
            advice = ""
            if path.is_symlink():  # the hub's cache has links, also for separate weight files
                advice = "; OpenVINO follows no links: hf download NAME --local-dir FOLDER"
            raise ConfigError(f"{path}: {str(error).strip().splitlines()[-1]}{advice}") from None
        self._compiled = compiled
        self._request = compiled.create_infer_request()
        self.device = options.device
        self.inputs = tuple(
            Input(port.any_name, _sizes(port.partial_shape), port.element_type.to_dtype().type)
            for port in compiled.inputs
        )
        self.outputs = tuple(port.any_name for port in compiled.outputs)

    def replica(self) -> "OpenVinoSession":
        """A session with a request of its own to the same compiled network."""
        replica = copy(self)
        replica._request = self._compiled.create_infer_request()
        return replica

    def run(self, feed: Mapping[str, NDArray[Any]], output: int = 0) -> Matrix:
        """Compute one output for a batch."""
        self._request.infer(dict(feed))
        # A copy, because the next call overwrites the tensor.
        return np.array(self._request.get_output_tensor(output).data, dtype=np.float32)


def _sizes(shape: Any) -> tuple[int | None, ...]:
    return tuple(None if size.is_dynamic else size.get_length() for size in shape)
