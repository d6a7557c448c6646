"""What may keep prepare from writing: a full disk, or another run."""

import errno
import json
import re
import shutil
import signal
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest

from common.files import write_whole
from devtools.services import CHECKOUT
from prepare.lock import locked
from tests.prepare.prepared_folder import PREPARE, Workspace, add_images
from tests.prepare.waiting import chunks_grow

REWRITES = 300


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


def own_disk(*command: str) -> subprocess.CompletedProcess[str]:
    """Run a command where it may mount what only it sees."""
    return subprocess.run(
        ["unshare", "--map-root-user", "--mount", *command],
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_disk_that_fills_up_at_any_file(twelve: Workspace, tmp_path: Path) -> None:
    """A page more room each time: whichever file it ends at, one clear line and nothing changed.

    Containers mostly may not mount: there the limits above must do.
    """
    disk = tmp_path / "disk"
    disk.mkdir()
    may = own_disk("mount", "-t", "tmpfs", "none", str(disk))
    if may.returncode:
        pytest.skip(f"no disk of its own: {may.stderr}")
    small = twelve.having(shards=1)
    add_images(small.images, range(12, 16))
    small.write_config()

    done = own_disk(sys.executable, "-m", "tests.prepare.full_disk", str(small.root), str(disk))

    assert 0 == done.returncode, done.stderr
    *failed, last = [json.loads(line) for line in done.stdout.splitlines()]
    ended_at: set[str] = set()
    for status, told, halves, untouched, again in failed:
        line = told.splitlines()[-1]
        assert (2, [], True, 0) == (status, halves, untouched, again), told
        assert line.startswith("error: cannot write into "), told
        assert "Traceback" not in told
        ended_at.add(line.rpartition(" ")[2].strip("'"))
    assert 0 == last[0]
    kinds = {".npy", ".rows.jsonl", "done-000000", ".records", ".offsets", ".keys", ".canaries"}
    for kind in kinds | {"MANIFEST"}:
        assert any(name.endswith(kind) for name in ended_at), f"{kind}: {ended_at}"


def test_what_is_renamed_is_on_the_disk_before_and_after(twelve: Workspace) -> None:
    """No file gets its name before its bytes are synced, and its folder is synced next."""
    if not (strace := shutil.which("strace")):
        pytest.skip("no strace here")
    add_images(twelve.images, range(12, 14))
    log = twelve.root / "strace"
    command = [strace, "-ff", "-y", "-e", "trace=fsync,rename,renameat,renameat2", "-o", str(log)]
    config = twelve.having(shards=1).write_config()
    script = [sys.executable, str(CHECKOUT / PREPARE), "--config", str(config)]
    done = subprocess.run([*command, *script], capture_output=True, text=True, check=False)
    if "PTRACE" in done.stderr:
        pytest.skip(done.stderr)
    assert 0 == done.returncode, done.stderr

    logs = sorted(twelve.root.glob("strace.*"))  # a thread each: all that a line tells is in it
    lines = [line for path in logs for line in path.read_text().splitlines()]
    calls_made = [line for line in lines if " = 0" in line]
    synced = [re.search(r"fsync\(\d+<(.*)>\)", line) for line in calls_made]
    renamed = 0
    for place, line in enumerate(calls_made):
        if names := re.search(r'rename\w*\(.*?"(.*?)".*?"(.*?)"', line):
            before, after = synced[place - 1], next(filter(None, synced[place + 1 :]))
            assert before is not None, line
            assert names[1] == before[1], line
            assert str(Path(names[2]).parent) == after[1], line
            renamed += 1
    assert renamed >= 11  # three of a chunk, members.jsonl, five of a shard, MANIFEST and CURRENT


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path: Path) -> None:
    """What fails on the way, after some bytes, leaves the file as it was."""
    path = tmp_path / "file"
    path.write_text("before")

    def write(temporary: Path) -> None:
        temporary.write_text("half")
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(OSError, match=r"No space.*/file'"):
        write_whole(path, write)

    assert path.read_text() == "before"
    assert [path] == list(tmp_path.iterdir())


def test_several_may_write_one_file(tmp_path: Path) -> None:
    """Two processes replace it over and over: none fails, and it is always what one has written."""
    path = tmp_path / "file"
    command = [sys.executable, "-m", "tests.prepare.write_again", str(path), str(REWRITES)]
    with ExitStack() as stack:
        writers = [
            stack.enter_context(subprocess.Popen([*command, letter], cwd=CHECKOUT))
            for letter in "ab"
        ]
        while None in [writer.poll() for writer in writers]:
            if path.exists():
                assert path.read_bytes() in (b"a" * 1000, b"b" * 1000)

    assert [0, 0] == [writer.returncode for writer in writers]
    assert [path] == list(tmp_path.iterdir())


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
    chunks_grow(twelve, 1, first)
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
