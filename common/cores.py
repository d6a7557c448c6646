"""The CPU cores that this process may use."""

import math
import os
from pathlib import Path

OWN_GROUP = Path("/proc/self/cgroup")
GROUPS = Path("/sys/fs/cgroup")


def usable_cores() -> int:
    """How many cores this process may use, at least 1.

    `os.cpu_count()` is all cores of the machine, of which a container may have a few: Linux tells
    the cores that a process may run on, and the limit of its time, which is rounded up.
    """
    if not hasattr(os, "sched_getaffinity"):
        return os.cpu_count() or 1
    return max(1, min([len(os.sched_getaffinity(0)), *time_limits()]))


def time_limits(own_group: Path = OWN_GROUP, groups: Path = GROUPS) -> list[int]:
    """The limits of this process's control groups, in cores, rounded up; empty without any.

    Source: https://docs.kernel.org/admin-guide/cgroup-v2.html. `cpu.max` of a group has the time
    that it may use in a period, or `max`, and the period. All groups above it count, too.
    """
    named = [line[3:] for line in _read(own_group).splitlines() if line.startswith("0::")]
    folder = groups.joinpath(*(name.strip("/") for name in named))
    found = []
    for group in (folder, *folder.parents):
        time, _, period = _read(group / "cpu.max").strip().partition(" ")
        if time.isdecimal() and period.isdecimal():
            found.append(math.ceil(int(time) / int(period)))
    return found


def _read(file: Path) -> str:
    try:
        return file.read_text()
    except OSError:  # there is none: another system, or a group without a limit
        return ""
