"""The devices that a model's replicas run on, by `Inference.device` and `Inference.replicas`."""

import ctypes
import re
from collections.abc import Sequence
from typing import NamedTuple

from common.errors import ConfigError
from common.settings.inference import DEVICE


class Device(NamedTuple):
    """A device: cpu, an NVIDIA GPU (cuda) or an Intel GPU (gpu), counted from 0."""

    kind: str
    number: int = 0


def list_devices(wanted: Sequence[str], gpus: int | None = None) -> list[Device]:
    """The devices that `wanted` names, each of them once; raises ConfigError.

    A name is cpu, gpu, or NVIDIA GPUs by number: `cuda` is GPU 0, `cuda:0,1` a list, `RR` all, and
    `RR0:2` the GPUs 0 and 1 (as in CLIP-as-service). `gpus` is the number of NVIDIA GPUs; with
    None, the driver is asked.
    """
    return list(dict.fromkeys(device for name in wanted for device in _named(name, gpus)))


def _named(name: str, gpus: int | None) -> list[Device]:
    """The devices of one name, which the settings have checked."""
    match = DEVICE.fullmatch(name)
    if match is None or match[1]:
        return [Device(name)]
    count = count_gpus() if gpus is None else gpus
    numbers = _numbers(match, count)
    if not numbers or max(numbers) >= count:
        raise ConfigError(f"config: Inference.device: {name!r}, but there are {count} NVIDIA GPUs")
    return [Device("cuda", number) for number in numbers]


def deal_out(devices: Sequence[Device], replicas: int, cpu_replicas: int) -> list[Device]:
    """The device of each replica, assigned in turn.

    With `replicas` 0, each device has one replica, and the CPU `cpu_replicas`.
    """
    if replicas:
        return [devices[replica % len(devices)] for replica in range(replicas)]
    return [
        device for device in devices for _ in range(cpu_replicas if device.kind == "cpu" else 1)
    ]


def _numbers(match: re.Match[str], count: int) -> list[int]:
    _, listed, first, end = match.groups()
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
