"""Other projects beside ours: what cannot be had is left out, with the reason."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from benchmarks.drivers import Measured
from benchmarks.environments import Environment
from benchmarks.figures import Contender, Load, take_turns
from benchmarks.peers import figures
from common.errors import MissingPackage

BROKEN = Environment("broken", ("./there-is-no-such-package.whl",))


def test_what_cannot_be_installed_says_why(tmp_path: Path) -> None:
    """Each time, as nothing marks a half made environment as whole."""
    for _ in range(2):
        with pytest.raises(MissingPackage, match="broken"):
            BROKEN.bin(tmp_path)


def test_the_others_are_measured_without_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The errors of the others are summed."""
    left = iter([Measured(20, 0, 0, 1), Measured(10, 0, 0, 2)])

    @contextmanager
    def refuse() -> Iterator[Load]:
        BROKEN.bin(tmp_path)
        yield lambda: next(left)

    @contextmanager
    def start() -> Iterator[Load]:
        yield lambda: next(left)

    runs = take_turns([Contender("broken", refuse), Contender("whole", start)], 2)
    (figure,) = figures(runs)

    assert ("whole", 15, "3 errors") == (figure.name, figure.value, figure.note)
    assert "left out: broken: broken" in capsys.readouterr().out
