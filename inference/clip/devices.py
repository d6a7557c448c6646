"""The devices that a model's replicas run on, by `Inference.device` and `Inference.replicas`."""

import ctypes
import re
from typing import NamedTuple

from common.errors import ConfigError


class Device(NamedTuple):
    """A device: cpu, an NVIDIA GPU (cuda) or an Intel GPU (gpu), counted from 0."""

    kind: str
    number: int = 0


def list_devices(device: str, replicas: int, gpus: int | None = None) -> list[Device]:
    """The device of each replica, assigned round-robin; raises ConfigError.

    `device` is cpu, gpu, or NVIDIA GPUs by number: `cuda` is GPU 0, `cuda:0,1` a list, `RR` all,
    and `RR0:2` the GPUs 0 and 1 (as in CLIP-as-service). With `replicas` 0, each device has one
    replica. `gpus` is the number of NVIDIA GPUs; with None, the driver is asked.
    """
    if device in ("cpu", "gpu"):
        return [Device(device)] * (replicas or 1)
    match = re.fullmatch(r"cuda(?::(\d+(?:,\d+)*))?|RR(?:(\d+):(\d+))?", device)
    if not match:
        raise ConfigError(
            f"config: Inference.device: {device!r} is not cpu, gpu, cuda, cuda:0,1, RR or RR0:2"
        )
    count = count_gpus() if gpus is None else gpus
    numbers = _numbers(match, count)
    if not numbers or max(numbers) >= count:
        raise ConfigError(
            f"config: Inference.device: {device!r}, but there are {count} NVIDIA GPUs"
        )
    return [
        Device("cuda", numbers[replica % len(numbers)])
        for replica in range(replicas or len(numbers))
    ]


def _numbers(match: re.Match[str], count: int) -> list[int]:
    listed, first, end = match.groups()
    if listed:
        return [int(number) for number in listed.split(",")]
    if first:
        return list(range(int(first), int(end)))
    return list(range(count)) if match[0] == "RR" else [0]


def count_gpus() -> int:
    """The number of NVIDIA GPUs by the driver's API, which torch asks too; 0 without a driver."""
    try:
        cuda = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return 0
    count = ctypes.c_int()
    if cuda.cuInit(0) or cuda.cuDeviceGetCount(ctypes.byref(count)):
        return 0
    return count.value
