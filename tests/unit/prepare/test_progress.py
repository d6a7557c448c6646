"""Progress where there is no terminal: a plain line now and then."""

import pytest

from prepare.progress import Progress


def test_the_end_is_always_told(capsys: pytest.CaptureFixture[str]) -> None:
    """In between not more often than every few seconds."""
    with Progress("embedding", 4) as progress:
        for _ in range(4):
            progress.add(1)
    (line,) = capsys.readouterr().err.splitlines()

    assert line.startswith("embedding: 4 of 4 images, ")
    assert line.endswith("0:00 left")
