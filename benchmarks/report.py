"""What a benchmark leaves: the file that is kept."""

import os
import platform
import shutil
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import msgspec

from common.config import CHECKOUT, Config

RESULTS = CHECKOUT / "benchmarks/results"
PACKAGES = (
    *("Flask", "gunicorn", "waitress", "numpy", "hnswlib", "tokenizers"),
    *("onnxruntime", "onnxruntime-gpu", "openvino", "tensorrt", "torch", "open_clip_torch"),
)


def write(
    kind: str,
    results: Sequence[msgspec.Struct],
    settings: dict[str, Any],
    config: Config,
    folder: Path = RESULTS,
) -> Path:
    """Write the result file of this kind, moment and commit; returns its path."""
    now, commit = datetime.now(UTC), _git("rev-parse", "--short", "HEAD") or "unknown"
    document = {
        "date": now.isoformat(timespec="seconds"),
        "commit": commit,
        "uncommitted_changes": bool(_git("status", "--porcelain")),
        "machine": machine(),
        "versions": {"python": platform.python_version()} | _versions(),
        "settings": settings,
        "config": config,
        "results": results,
    }
    folder.mkdir(exist_ok=True)
    path = folder / f"{now:%Y-%m-%d}-{commit}-{kind}.json"
    path.write_bytes(msgspec.json.format(msgspec.json.encode(document), indent=1) + b"\n")
    return path


def machine() -> dict[str, Any]:
    """What the numbers depend on most; what this system does not tell is null."""
    return {
        "cpu": _cpu(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None,
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "system": platform.system(),
        "kernel": platform.release(),
    }


def _versions() -> dict[str, str]:
    """Of those that are installed."""
    found = {}
    for package in PACKAGES:
        with suppress(PackageNotFoundError):
            found[package] = version(package)
    return found


def _cpu() -> str | None:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or None
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def _git(*arguments: str) -> str:
    """What git says of the checkout; empty when there is no git or no repository."""
    program = shutil.which("git")
    if not program:
        return ""
    done = subprocess.run(
        [program, *arguments], cwd=CHECKOUT, capture_output=True, text=True, check=False
    )
    return done.stdout.strip()
