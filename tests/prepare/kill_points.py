"""Run prepare so that it dies, as by SIGKILL, just before the n-th of its steps on the disk.

python -m tests.prepare.kill_points, then a line `CONFIG N` for each run on standard input;
answered by a line with its exit status, before which a run that ends well says how many steps it
took.
A step is what Python changes under the folder of CONFIG: it opens a file to write, renames or
deletes one, makes a folder; or that it opens the log. Temporary files count when they are renamed:
until then nobody looks at them. Audit events tell of them, so the code that
runs is what always runs.
"""

import os
import signal
import sys
from pathlib import Path
from typing import Any

from common.config import load
from common.files import TEMPORARY
from prepare import build_index, save_embedding, shard_plans
from search import exact

STEPS = {"open", "os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.truncate", "sqlite3.connect"}


class Steps:
    """Counts steps under a folder, and ends the process before one of them."""

    def __init__(self, folder: Path, last: int) -> None:
        self.count = 0
        self._folder = f"{folder}{os.sep}"
        self._last = last

    def hook(self, event: str, arguments: tuple[Any, ...]) -> None:
        """An audit hook."""
        if event in STEPS and self._is_ours(event, arguments):
            self.count += 1
            if self.count == self._last:
                os.kill(os.getpid(), signal.SIGKILL)

    def _is_ours(self, event: str, arguments: tuple[Any, ...]) -> bool:
        is_new = str(arguments[0]).endswith(TEMPORARY) and event == "open"
        if is_new or (event == "open" and not arguments[2] & (os.O_WRONLY | os.O_RDWR)):
            return False
        in_open_folder = event in ("os.remove", "os.rmdir") and arguments[1] != -1
        return in_open_folder or self._folder in str(arguments[0])


def run(config: str, last: int) -> None:
    """Prepare what a configuration says; never returns."""
    # As in a large collection: shards keep their base, with tombstones and a recent segment.
    exact.MAX_COUNT, shard_plans.MAX_RECENT = 0, 1.0
    loaded = load(config)
    steps = Steps(loaded.root, last)
    sys.addaudithook(steps.hook)
    save_embedding.save_embeddings(loaded)
    build_index.build(loaded)
    print(f"{steps.count} steps", flush=True)
    os._exit(0)


def main() -> None:
    """A process for each run, forked from this one, which has imported everything."""
    for line in sys.stdin:
        config, last = line.split()
        if not (child := os.fork()):
            run(config, int(last))
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        print(status, flush=True)


if __name__ == "__main__":
    main()
