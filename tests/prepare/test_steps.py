"""prepare killed before each of its steps on the disk, one after the other."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from devtools.services import CHECKOUT
from prepare.members import read_folded
from tests.chaos.kills import files_of
from tests.prepare.live import delete, id_of, patch, put, span
from tests.prepare.prepared_folder import Workspace, add_images
from tests.prepare.version_files import found_segments, named_segments

Dies = Callable[[Workspace, int], int]


@pytest.fixture
def dies() -> Iterator[Dies]:
    """Run prepare until before its n-th step; for n = 0 to the end, which gives how many."""
    command = [sys.executable, "-m", "tests.prepare.kill_points"]
    with subprocess.Popen(
        command,
        cwd=CHECKOUT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,  # progress
        text=True,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        write, read = process.stdin, process.stdout

        def run(workspace: Workspace, step: int) -> int:
            write.write(f"{workspace.write_config()} {step}\n")
            write.flush()
            steps, _, told = read.readline().partition(" ")
            status = read.readline() if told else steps
            assert int(status) == (-9 if step else 0), f"step {step}"
            return int(steps)

        yield run
        write.close()
    assert process.returncode == 0


@pytest.fixture
def changed(tmp_path: Path, model: Path) -> Workspace:
    """Two versions and a collection changed since, so that a run does all that a run can do.

    It takes a root from the configuration, embeds a chunk, skips an image, knows a moved one, takes
    up what was put, patched and deleted live, writes a version, deletes the oldest, drops the chunk
    that only that one was from, and trims the log.
    """
    workspace = Workspace(tmp_path / "changed", model, {"chunk-size": 4}, shards=1)
    add_images(workspace.images, range(8))
    workspace.prepare()
    uploaded = add_images(workspace.root / "data/uploads", [20, 21])
    put(workspace, uploaded[0], 1, title="first")
    for number in range(4):
        (workspace.images / f"{number:05}.png").unlink()
    workspace.prepare()
    add_images(workspace.images, [9, 10])
    (workspace.images / "broken.png").write_bytes(b"broken")
    (workspace.images / "00007.png").rename(workspace.images / "moved.png")
    put(workspace, uploaded[1], 2, title="second")
    patch(workspace, id_of(workspace, uploaded[0]), year=2020)
    delete(workspace, id_of(workspace, workspace.images / "00005.png"))
    add_images(workspace.root / "more", [11])
    return workspace.having(shards=1, images=["images", "more"])


def result(workspace: Workspace) -> tuple[object, ...]:
    """All that must not depend on when a run was killed."""
    vectors = {path: vector.tobytes() for path, vector in workspace.vectors().items()}
    embeddings = sorted(path.name for path in workspace.embeddings.path.iterdir())
    records = files_of(workspace)
    rows, skipped = workspace.rows(), workspace.skipped()
    live = span(workspace), workspace.manifest().log_position, read_folded(workspace.embeddings)
    return rows, skipped, vectors, embeddings, records, workspace.ids(), live


def test_killed_at_every_step(changed: Workspace, tmp_path: Path, dies: Dies) -> None:
    """Whichever step is not reached, readers have a whole version, and the next run ends it."""
    unbroken = changed.copy(tmp_path / "unbroken")
    steps = dies(unbroken, 0)
    assert steps > 40
    assert span(unbroken) == (1, 4)
    for step in range(1, steps + 1):
        workspace = changed.copy(tmp_path / f"step-{step}")
        dies(workspace, step)
        assert workspace.load().manifest.version in ("v000002", "v000003"), step
        assert workspace.vectors(), f"{step}: what the last run collected can be read"
        begin, _ = span(workspace)
        assert begin <= workspace.manifest().log_position, f"{step}: servers need these entries"

        dies(workspace, 0)

        assert result(unbroken) == result(workspace), step
        named, *others = workspace.versions()
        assert set.union(*others) <= named, f"{step}: files that the next run will not find"
        assert named_segments(workspace) == found_segments(workspace), step
