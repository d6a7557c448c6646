"""A wall clock that jumps by an hour, forth and back: nothing expires, hangs or lives for ever."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from devtools.collection import Collection
from devtools.services import CHECKOUT, cluster, hanging, metric, wait_until, with_section
from tests.cache_probe import ask, outcome

JUMPS_S = (3600, -3600, 0)


@pytest.fixture
def clock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file that says by how much the wall clock of processes started from now on is wrong."""
    if not shutil.which("cc"):
        absent = pytest.fail if os.environ.get("CI") == "true" else pytest.skip
        absent("there is no C compiler (package build-essential)")
    library, file = tmp_path / "wall_clock.so", tmp_path / "wall_clock"
    source = str(CHECKOUT / "tests/wall_clock.c")
    subprocess.run(["cc", "-shared", "-fPIC", "-O2", "-o", str(library), source], check=True)
    file.write_text("0")
    monkeypatch.setenv("LD_PRELOAD", str(library))
    monkeypatch.setenv("WALL_CLOCK", str(file))
    return file


@contextmanager
def jumped(clock: Path, by_s: int) -> Iterator[None]:
    """The wall clock is wrong until the block ends."""
    clock.write_text(str(by_s))
    try:
        yield
    finally:
        clock.write_text("0")


def test_a_clock_that_jumps_changes_nothing(tmp_path: Path, clock: Path) -> None:
    """Answers, the cache and its expiry, and deadlines go by a clock that nobody sets."""
    collection = Collection(tmp_path, images=40, shards=2)
    config = with_section(collection.config, "Middle", deadline_ms=1000, cache_expiry_s=600)
    with cluster(config, 1, collection.folder) as services:
        front = services.front
        wait_until(lambda: "bypass" != outcome(ask(front, "/v1/search", text="the the")))
        kept = ask(front, "/v1/search", text="red").json()["hits"]
        for by in JUMPS_S:
            with jumped(clock, by):
                again = ask(front, "/v1/search", text="red")
                assert ("hit", kept) == (outcome(again), again.json()["hits"])
                assert 0 <= int(again.headers["Age"]) < 300
                assert 200 == ask(front, "/v1/search", text=f"a photo {by}").status
                assert 200 == ask(front, "/v1/search", id=kept[0]["id"]).status
                with hanging(services.inference):
                    late = ask(front, "/v1/search", text=f"a square {by}")
                    assert "deadline_exceeded" == late.json()["code"]
                wait_until(lambda by=by: 200 == ask(front, "/v1/search", text=f"of {by}").status)  # type: ignore[misc]
                assert {"status": "ready"} == front.get("/ready")
        wait_until(lambda: 0 == metric(front, 'in_flight{service="front"}'))
        assert 0 == metric(front, 'stuck_requests_total{service="front"}')


def test_the_clock_really_jumps(clock: Path) -> None:
    """Else the test beside would show nothing."""
    code = "import time; print(time.time(), time.monotonic())"
    told = []
    for by in (0, 3600):
        with jumped(clock, by):
            done = subprocess.run(
                [sys.executable, "-c", code], capture_output=True, text=True, check=True
            )
            told.append([float(one) for one in done.stdout.split()])
    assert 3000 < told[1][0] - told[0][0]
    assert 1000 > told[1][1] - told[0][1]
