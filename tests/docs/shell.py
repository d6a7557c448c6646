"""A bash that a page's commands are typed into, and that ends with the first that fails."""

import subprocess
import threading
from pathlib import Path
from typing import Any

COMMAND_S = 120
END = "-- the end of a fence --"


class Shell:
    """One bash for all fences of a page, so that a variable lives from one to the next."""

    def __init__(self, script: Path, **how: Any) -> None:
        """Run in `script` what is to be run; `how` is for Popen."""
        self._script = script
        self._process = subprocess.Popen(
            ["bash"],
            text=True,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            **how,
        )
        self.run("set -euo pipefail")

    @property
    def pid(self) -> int:
        """The process."""
        return self._process.pid

    def run(self, text: str) -> str:
        """Run commands to their end; returns what they print. Fails with the first that fails."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._script.write_text(text)
        self._process.stdin.write(f". {self._script} </dev/null\nprintf '\\n%s\\n' '{END}'\n")
        self._process.stdin.flush()
        late = threading.Timer(COMMAND_S, self._process.kill)
        late.start()
        printed: list[str] = []
        try:
            for line in self._process.stdout:
                if line.rstrip() == END:
                    return "".join(printed).strip()
                printed.append(line)
        finally:
            late.cancel()
        raise AssertionError(f"{text}\nfailed:\n{''.join(printed)}")

    def close(self) -> None:
        """End it."""
        self._process.kill()
        self._process.communicate()
