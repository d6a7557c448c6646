"""Run prepare on a small disk with ever more room, until there is enough.

unshare --map-root-user --mount python -m tests.prepare.full_disk WORKSPACE DISK: mounts a tmpfs at
DISK, which only this process sees and which goes with it. For each amount of room, a page more
each time, a line of JSON: how the run ended, what it said last, what it left half written, whether
CURRENT is as before, and how the next run ended once there was room again.
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

from common.process import run
from prepare import prepare

PAGE = 4096
DISK_BYTES = 16 * 2**20


def prepare_in(folder: Path) -> tuple[int, str]:
    """Run prepare.py in a process of its own; gives its exit status and the end of what it said."""
    told = folder.parent.with_suffix(".log")  # not on the small disk
    if not (child := os.fork()):
        log = os.open(told, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(log, 1)
        os.dup2(log, 2)
        sys.argv = ["prepare.py", "--config", str(folder / "config.json")]
        try:
            run(prepare.main)
        except SystemExit as ended:
            os._exit(int(str(ended.code)))
        os._exit(0)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return status, told.read_text()


def fill(disk: Path, room_bytes: int) -> Path:
    """Leave so much room on a disk; gives the file that takes the rest."""
    path = disk / "filler"
    free = os.statvfs(disk)
    with path.open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, free.f_bavail * free.f_frsize - room_bytes)
    return path


def attempt(workspace: Path, disk: Path, room_bytes: int) -> int:
    """Run prepare with so much room and then with enough; tells, and gives the first status."""
    folder = disk / "workspace"
    shutil.copytree(workspace, folder)
    current = folder / "data/index/CURRENT"
    before = current.read_bytes()
    filler = fill(disk, room_bytes)
    status, told = prepare_in(folder)
    halves = [path.name for path in folder.rglob("*.tmp")]
    untouched = before == current.read_bytes()
    filler.unlink()
    again, _ = prepare_in(folder)
    shutil.rmtree(folder)
    print(json.dumps([status, told, halves, untouched, again]), flush=True)
    return status


def main() -> None:
    """Give it a page more until it ends well."""
    workspace, disk = map(Path, sys.argv[1:])
    size = f"size={DISK_BYTES}"
    subprocess.run(["mount", "-t", "tmpfs", "-o", size, "none", str(disk)], check=True)
    room_bytes = 0
    while attempt(workspace, disk, room_bytes):
        room_bytes += PAGE


if __name__ == "__main__":
    main()
