"""The memory that encoding an image takes, compared with what the machine has left."""

from pathlib import Path

from common.errors import ConfigError
from inference.clip.session import files_of
from inference.segment.sam_files import VIT_NAME

MIB = 2**20
SMALL_BYTES = 64 * MIB
SMALL_PEAK = 450 * MIB
"""MobileSAM, of 27 MiB, took 456 MiB at its peak: two times the file, and this."""
VIT_PEAK = 3250 * MIB
"""ViT-B, of 342 MiB, took 3,841 MiB, and SlimSAM, of 14 MiB, 2,763: each of 12 heads compares all
4,096 parts of an image with each other."""
MEMINFO = Path("/proc/meminfo")
CGROUP = Path("/sys/fs/cgroup")


def check_memory(encoder: Path) -> None:
    """Raise ConfigError if there is less memory than an encoder takes, as far as one can tell."""
    needed, available = needed_bytes(encoder), available_bytes()
    if available is not None and available < needed:
        raise ConfigError(
            f"config: Inference.sam: {encoder.name} may take {needed // MIB} MiB to encode an"
            f" image, and {available // MIB} MiB are available here: take MobileSAM, which takes"
            " 500 MiB, or a machine with more memory"
        )


def needed_bytes(encoder: Path) -> int:
    """What an encoder takes at its peak, by the size of its file and by its kind."""
    size = sum(file.stat().st_size for file in files_of(encoder))
    is_small = size <= SMALL_BYTES and not encoder.name.startswith(VIT_NAME)
    return 2 * size + (SMALL_PEAK if is_small else VIT_PEAK)


def available_bytes() -> int | None:
    """The memory that this process may still take; None where the system does not tell (macOS)."""
    found = []
    if MEMINFO.exists():
        lines = dict(line.split(":", 1) for line in MEMINFO.read_text().splitlines())
        found.append(1024 * int(lines["MemAvailable"].split()[0]))
    most = CGROUP / "memory.max"  # of a container
    if most.exists() and (limit := most.read_text().strip()) != "max":
        used = int((CGROUP / "memory.current").read_text())
        stat = dict(line.split() for line in (CGROUP / "memory.stat").read_text().splitlines())
        cached = int(stat["active_file"]) + int(stat["inactive_file"])  # of files, given back
        found.append(int(limit) - used + cached)
    return min(found, default=None)
