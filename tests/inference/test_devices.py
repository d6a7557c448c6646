"""Dealing replicas out over devices."""

import pytest

from common.errors import ConfigError
from inference.clip.devices import Device, deal_out, list_devices


@pytest.mark.parametrize(
    ("wanted", "replicas", "expected"),
    [
        (["cpu"], 0, [("cpu", 0)] * 2),
        (["cpu"], 3, [("cpu", 0)] * 3),
        (["gpu"], 0, [("gpu", 0)]),
        (["cuda"], 0, [("cuda", 0)]),
        (["cuda"], 2, [("cuda", 0), ("cuda", 0)]),
        (["cuda:1,3"], 0, [("cuda", 1), ("cuda", 3)]),
        (["cuda:2,0"], 3, [("cuda", 2), ("cuda", 0), ("cuda", 2)]),
        (["RR"], 0, [("cuda", 0), ("cuda", 1), ("cuda", 2), ("cuda", 3)]),
        (["RR"], 2, [("cuda", 0), ("cuda", 1)]),
        (["RR"], 6, [("cuda", n) for n in (0, 1, 2, 3, 0, 1)]),
        (["RR1:3"], 3, [("cuda", 1), ("cuda", 2), ("cuda", 1)]),
        (["cuda:3", "cpu"], 0, [("cuda", 3), ("cpu", 0), ("cpu", 0)]),
        (["cuda:3", "cpu"], 3, [("cuda", 3), ("cpu", 0), ("cuda", 3)]),
        (["cuda", "cuda:0,2", "cpu", "cpu"], 0, [("cuda", 0), ("cuda", 2), *[("cpu", 0)] * 2]),
    ],
)
def test_replicas_are_dealt_out_in_turn(
    wanted: list[str], replicas: int, expected: list[tuple[str, int]]
) -> None:
    """Each replica gets the next device; without a count each device gets one, the CPU its own."""
    dealt = deal_out(list_devices(wanted, gpus=4), replicas, cpu_replicas=2)

    assert [Device(*one) for one in expected] == dealt


@pytest.mark.parametrize("device", ["cuda:4", "RR2:6", "RR3:3"])
def test_a_gpu_that_is_not_there_is_refused(device: str) -> None:
    """Also a slice that holds none, and also in a list."""
    with pytest.raises(ConfigError, match="there are 4 NVIDIA GPUs"):
        list_devices(["cpu", device], gpus=4)
