"""Dealing replicas out over devices."""

import pytest

from common.errors import ConfigError
from inference.clip.devices import Device, list_devices


@pytest.mark.parametrize(
    ("device", "replicas", "expected"),
    [
        ("cpu", 0, [("cpu", 0)]),
        ("cpu", 3, [("cpu", 0)] * 3),
        ("gpu", 0, [("gpu", 0)]),
        ("cuda", 0, [("cuda", 0)]),
        ("cuda", 2, [("cuda", 0), ("cuda", 0)]),
        ("cuda:1,3", 0, [("cuda", 1), ("cuda", 3)]),
        ("cuda:2,0", 3, [("cuda", 2), ("cuda", 0), ("cuda", 2)]),
        ("RR", 0, [("cuda", 0), ("cuda", 1), ("cuda", 2), ("cuda", 3)]),
        ("RR", 2, [("cuda", 0), ("cuda", 1)]),
        ("RR", 6, [("cuda", n) for n in (0, 1, 2, 3, 0, 1)]),
        ("RR1:3", 3, [("cuda", 1), ("cuda", 2), ("cuda", 1)]),
    ],
)
def test_replicas_are_dealt_out_in_turn(
    device: str, replicas: int, expected: list[tuple[str, int]]
) -> None:
    """Each replica gets the next device; without a count each device gets one."""
    assert [Device(*one) for one in expected] == list_devices(device, replicas, gpus=4)


@pytest.mark.parametrize("device", ["", "CPU", "cuda:", "cuda:x", "cuda:0,", "RR:2", "RR2:", "tpu"])
def test_what_is_no_device_is_refused(device: str) -> None:
    """The message names the key and the words that it takes."""
    with pytest.raises(ConfigError, match=r"Inference.device: .* is not cpu, gpu, cuda"):
        list_devices(device, 0, gpus=4)


@pytest.mark.parametrize("device", ["cuda:4", "RR2:6", "RR3:3"])
def test_a_gpu_that_is_not_there_is_refused(device: str) -> None:
    """Also a slice that holds none."""
    with pytest.raises(ConfigError, match="there are 4 NVIDIA GPUs"):
        list_devices(device, 0, gpus=4)
