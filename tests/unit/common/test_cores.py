"""The cores that this process may use."""

import os
from pathlib import Path

import pytest

from common.cores import time_limits, usable_cores


def groups(folder: Path, limits: dict[str, str]) -> Path:
    """A file system of control groups, each with its `cpu.max`."""
    for name, limit in limits.items():
        (folder / name).mkdir(parents=True, exist_ok=True)
        (folder / name / "cpu.max").write_text(limit + "\n")
    return folder


@pytest.mark.parametrize(
    ("group", "limits", "cores"),
    [
        ("0::/\n", {".": "150000 100000"}, [2]),
        ("0::/a/b\n", {"a": "400000 100000", "a/b": "max 100000"}, [4]),
        ("0::/a/b\n", {"a": "300000 100000", "a/b": "50000 100000"}, [1, 3]),
        ("0::/elsewhere\n", {".": "200000 100000"}, [2]),
        ("1:cpu:/a\n", {"a": "200000 100000"}, []),
        ("0::/\n", {}, []),
    ],
    ids=["container", "above", "both", "no such group", "version 1", "none"],
)
def test_the_limits_of_a_container_are_read(
    tmp_path: Path, group: str, limits: dict[str, str], cores: list[int]
) -> None:
    """Parts of a core are rounded up, and each group above counts."""
    own = tmp_path / "own"
    own.write_text(group)

    assert cores == time_limits(own, groups(tmp_path / "groups", limits))


def test_no_more_cores_are_used_than_there_are() -> None:
    """And at least one."""
    assert 1 <= usable_cores() <= (os.cpu_count() or 1)
    assert [] == time_limits(Path("/nowhere"), Path("/nowhere"))
