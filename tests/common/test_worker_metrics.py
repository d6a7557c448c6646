"""What several workers count together."""

import subprocess
from pathlib import Path

import pytest

from common.server import worker_metrics


def test_the_gauges_of_a_worker_that_was_killed_are_left_out(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The next worker finds that its process has gone; those of others stay."""
    gone = subprocess.Popen(["true"])
    gone.wait()
    monkeypatch.setenv(worker_metrics.FOLDER, str(tmp_path))
    worker_metrics.join()
    (tmp_path / f"worker-{gone.pid}").touch()
    kept, dead = tmp_path / "gauge_livesum_1.db", tmp_path / f"gauge_livesum_{gone.pid}.db"
    kept.touch()
    dead.touch()
    worker_metrics.join()

    assert kept.exists()
    assert not dead.exists()
    assert 1 == len(list(tmp_path.glob("worker-*")))


def test_one_worker_counts_by_itself(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """It writes to nobody's folder."""
    monkeypatch.setenv(worker_metrics.FOLDER, str(tmp_path))
    worker_metrics.share(1)
    worker_metrics.join()
    worker_metrics.forget_worker(1)
    worker_metrics.forget_all()

    assert [] == list(tmp_path.iterdir())
