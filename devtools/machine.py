"""What a result was measured on: the machine, and the commit of this checkout."""

import os
import platform
import shutil
import subprocess
from pathlib import Path
from typing import Any

from common.config import CHECKOUT


def machine() -> dict[str, Any]:
    """The machine, read from Linux: figures depend most on the processor."""
    lines = [line.partition(":") for line in Path("/proc/cpuinfo").read_text().splitlines()]
    told = {name.strip(): value.strip() for name, _, value in lines}
    return {
        "cpu": told.get("model name", platform.machine()),
        "cpu_flags": [flag for flag in told.get("flags", "").split() if flag[:3] in ("avx", "amx")],
        "cores": len(os.sched_getaffinity(0)),
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "kernel": f"{platform.system()} {platform.release()}",
    }


def git(*arguments: str) -> str:
    """The output of git for this checkout; empty without git or a repository."""
    if not (program := shutil.which("git")):
        return ""
    command = [program, "-C", str(CHECKOUT), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()
