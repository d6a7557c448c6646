"""The supervisor is told to stop once, and once more."""

import subprocess
from typing import cast

import pytest

from common.stopping import TEXT, Stopping


class Supervisord:
    """Notes whether it was told."""

    pid = 0
    terminated = 0

    def terminate(self) -> None:
        self.terminated += 1


def test_the_second_time_no_more_is_said(capfd: pytest.CaptureFixture[str]) -> None:
    """Once, gently, with a word about how long it takes; then its children are interrupted."""
    process = Supervisord()
    stopping = Stopping(cast("subprocess.Popen[bytes]", process))
    stopping()
    stopping()

    assert capfd.readouterr().out == TEXT
    assert process.terminated == 1
