"""What may keep prepare from writing: a full disk, or another run."""

import errno
import signal
from pathlib import Path

import pytest

from common.files import write_whole
from prepare.lock import locked
from tests.prepare.workspace import Workspace, add_images, journal_grows


# Too little for vectors, then for rows, then for an index, in the order in which they are written.
@pytest.mark.parametrize("limit_bytes", [50, 1000, 10_000, 25_000])
def test_a_full_disk_fails_the_run_and_changes_nothing(twelve: Workspace, limit_bytes: int) -> None:
    """No room for a file: one clear line, CURRENT untouched; with room again all is well."""
    large = twelve.having(shards=1, chunk_size=100)
    add_images(large.images, range(12, 212))
    before = large.load().manifest

    done = large.limited(f"--fsize={limit_bytes}")

    assert 2 == done.returncode
    assert done.stderr.splitlines()[-1].startswith("error: cannot write into ")
    assert "Traceback" not in done.stderr
    assert before == large.load().manifest
    large.prepare()
    assert 212 == len(large.ids())


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path: Path) -> None:
    """What fails on the way, after some bytes, leaves the file as it was."""
    path = tmp_path / "file"
    path.write_text("before")

    def write(temporary: Path) -> None:
        temporary.write_text("half")
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(OSError, match="No space"):
        write_whole(path, write)

    assert path.read_text() == "before"


def test_a_folder_that_cannot_be_made_is_one_clear_line(twelve: Workspace) -> None:
    """A file where a folder should be: exit status 2, and the line names it."""
    (twelve.root / "taken").touch()

    done = twelve.having(index_dir="taken/index").run()

    assert 2 == done.returncode
    assert f"error: cannot write into {twelve.root / 'taken/index'}" in done.stderr
    assert "Traceback" not in done.stderr


def test_two_runs_at_once(twelve: Workspace) -> None:
    """The second says that another is writing and exits with 2; the first is not disturbed."""
    add_images(twelve.images, range(12, 112))
    first = twelve.start()
    journal_grows(twelve, 1, first)
    first.send_signal(signal.SIGSTOP)
    try:
        second = twelve.run()
    finally:
        first.send_signal(signal.SIGCONT)
    output, _ = first.communicate()

    assert 2 == second.returncode
    assert f"error: another run is writing into {twelve.embeddings.path}\n" == second.stderr
    assert 0 == first.returncode, output
    assert 112 == len(twelve.ids())


def test_two_runs_into_one_index(twelve: Workspace) -> None:
    """Runs with embeddings of their own and one index between them are kept apart as well."""
    other = twelve.having(embedding_dir="other")
    with locked(twelve.folders.index):
        done = other.run()

    assert 2 == done.returncode
    assert f"another run is writing into {twelve.folders.index}" in done.stderr
