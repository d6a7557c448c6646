"""Sessions, which run a tower on one device; each replica of the tower has a session."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from numpy.typing import NDArray

from common.config import Inference
from common.cores import usable_cores
from common.errors import ConfigError
from common.settings.inference import listed
from common.wire import Matrix
from inference.clip.devices import Device, count_gpus, deal_out, list_devices

MAX_THREADS = 4
"""Most threads of a replica, unless `Inference.threads` says otherwise."""


class Input(NamedTuple):
    """An input of a session."""

    name: str
    shape: tuple[int | None, ...]
    """None for a dimension of any size."""
    dtype: Any


class Session(Protocol):
    """Maps arrays to rows, float32 [n, size]. Only one thread at a time may call `run`."""

    device: Device
    inputs: tuple[Input, ...]
    outputs: tuple[str, ...]

    def run(self, feed: Mapping[str, NDArray[Any]], output: int = 0) -> Matrix:
        """Compute one output for a batch, each input [n, ...]."""

    def replica(self) -> "Session":
        """A session for another thread, with the same weights if the runtime can share them.

        A session whose `run` may overlap returns itself.
        """


class SessionOptions(NamedTuple):
    """The options with which a runtime opens a session."""

    device: Device
    threads: int
    """CPU threads of one session."""
    precision: str
    compiled: bool = False
    replicas: int = 1
    """The sessions on this device, this session and its replicas."""
    keep_memory: bool = True
    """Whether ONNX Runtime keeps the memory of a run for the next run, which is a little faster."""


def open_sessions(path: Path, settings: Inference) -> list[Session]:
    """Open `path`, a tower's ONNX file, once for each replica in `settings`.

    Raises ConfigError for a device or precision that this machine lacks, and MissingPackage.
    """
    cores = usable_cores()
    devices = deal_out(
        list_devices(chosen_devices(settings)),
        settings.replicas,
        cpu_replicas(settings.threads, cores),
    )
    on_cpu = sum(device.kind == "cpu" for device in devices)
    threads = settings.threads or max(1, cores // (on_cpu or len(devices)))
    first: dict[Device, Session] = {}
    sessions = []
    for device in devices:
        options = SessionOptions(
            device, threads, settings.precision, replicas=devices.count(device)
        )
        if device in first:
            session = first[device].replica()
        else:
            session = first[device] = _open(path, settings.runtime, options)
        sessions.append(session)
    return sessions


def cpu_replicas(threads: int, cores: int) -> int:
    """How many replicas of `threads` (0: not given) the cores of a machine can run.

    A batch on one thread costs less CPU than on two, which wait for each other: small machines get
    a replica for each core. On larger ones a lone query may use a quarter of the cores, up to 4.
    """
    return max(1, cores // (threads or min(MAX_THREADS, max(1, cores // MAX_THREADS))))


def chosen_devices(settings: Inference) -> list[str]:
    """`Inference.device`; in place of auto, cuda if the runtime and the driver have it, else cpu.

    Raises MissingPackage. A process that has called it should not fork: CUDA is then in use.
    """
    return [
        name if name != "auto" else _automatic(settings.runtime) for name in listed(settings.device)
    ]


def _automatic(runtime: str) -> str:
    return "cuda" if _has_cuda(runtime) and count_gpus() else "cpu"


def _has_cuda(runtime: str) -> bool:
    """Whether a runtime is built for NVIDIA GPUs; imports it."""
    if runtime in ("torch", "torch-compile"):
        from inference.runtimes import torch_runtime

        return torch_runtime.HAS_CUDA
    if runtime == "openvino":
        return False
    from inference.runtimes import onnx_runtime

    return onnx_runtime.HAS_CUDA


def _open(path: Path, runtime: str, options: SessionOptions) -> Session:
    """Open a session. Imports only the chosen runtime, because each needs its own package."""
    if runtime == "openvino":
        from inference.runtimes.openvino_runtime import OpenVinoSession

        return OpenVinoSession(path, options)
    if runtime in ("torch", "torch-compile"):
        from inference.runtimes.torch_runtime import TorchSession

        return TorchSession(path, options._replace(compiled=runtime == "torch-compile"))
    from inference.runtimes.onnx_runtime import OnnxSession

    return OnnxSession(path, options, tensorrt=runtime == "tensorrt")


CACHED_BYTES = 32 * 2**20
"""Float32 weights up to this size may stay in the cache of a CPU; a server has 32 MiB or more."""


def batch_size(path: Path, settings: Inference) -> int:
    """The images that a session of `path` embeds at the least cost for each.

    The size of the network and the first device decide it, and no clock, as the other images of
    a batch may move the last digits of an embedding. A network larger than the cache of a CPU is
    read from memory for each batch, and 16 images share that. For a network within the cache it is
    4, as the activations of more images drive each other out. `docs/benchmarks.md` has the figures.
    """
    if chosen_devices(settings)[0] != "cpu":
        return 32
    weights = sum(file.stat().st_size for file in files_of(path))
    return 16 if weights > CACHED_BYTES else 4


def files_of(path: Path) -> list[Path]:
    """An ONNX file, and the separate files with the weights of a large network."""
    return sorted(path.parent.glob(f"{path.name}*"))


def variant(path: Path, precision: str) -> Path:
    """The file with the network of `path` in `precision`; raises ConfigError if missing."""
    file = variant_path(path, precision)
    if not file.is_file():
        raise ConfigError(
            f"no {file.name} in {path.parent}: Inference.precision {precision!r} needs it;"
            f" python inference/export.py NAME --precision {precision} makes it"
        )
    return file


def variant_path(path: Path, precision: str) -> Path:
    """The path of the network of `path` in `precision`; the file may not exist."""
    return path.with_suffix(f".{precision}.onnx")
