"""Changes below folders are noticed, by the system and by listing."""

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from common.config import Loaded, parse
from prepare.observing import REMOTE, Observing, own_paths, targets_of
from prepare.quiet import Quiet

WITHIN_S = 20


def wait_for(condition: Callable[[], bool]) -> None:
    until = time.monotonic() + WITHIN_S
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.01)


@pytest.mark.parametrize("polls", [False, True])
def test_changes_are_noticed(tmp_path: Path, polls: bool) -> None:
    """Also below new folders, and where a folder was put in the place of another."""
    root, ours = tmp_path / "root", tmp_path / "root/ours"
    ours.mkdir(parents=True)
    quiet = Quiet(0)
    with Observing(quiet, [f"{ours}/"], 0.05, polls=polls) as observing:
        target = {(str(root), True)}
        assert observing.follow(target)
        assert not observing.follow(target)

        (root / "new").mkdir()
        wait_for(quiet.is_due)
        quiet.begin()
        (root / "new/a.png").write_bytes(b"a")
        wait_for(quiet.is_due)

        root.rename(tmp_path / "away")
        root.mkdir()
        assert observing.follow(target)
        quiet.begin()
        (root / "b.png").write_bytes(b"b")
        wait_for(quiet.is_due)

    with Observing(quiet, [f"{ours}/"], 0.05, polls=polls) as observing:
        assert observing.follow({(str(tmp_path / "missing"), True)}), "it may come later"


class Noted(Quiet):
    """Knows which paths have changed."""

    def __init__(self) -> None:
        super().__init__(0)
        self.paths: set[str] = set()

    def note(self, path: str, *, is_open: bool = False) -> None:
        """Note it."""
        self.paths.add(path)
        super().note(path, is_open=is_open)


def test_reading_and_what_we_write_is_no_change(tmp_path: Path) -> None:
    """Else each look would be followed by another."""
    (tmp_path / "data").mkdir()
    for name in ("read.png", "gone.png"):
        (tmp_path / name).write_bytes(b"a")
    noted = Noted()
    with Observing(noted, [f"{tmp_path}/data/"], 0.05, polls=False) as observing:
        observing.follow({(str(tmp_path), True)})
        (tmp_path / "read.png").read_bytes()
        (tmp_path / "data/members").write_bytes(b"a")
        (tmp_path / "data/members").unlink()
        (tmp_path / "database").write_bytes(b"a")
        (tmp_path / "gone.png").unlink()
        wait_for(lambda: f"{tmp_path}/gone.png" in noted.paths)

    changed = {str(tmp_path), f"{tmp_path}/database", f"{tmp_path}/gone.png"}
    assert noted.paths <= changed
    assert f"{tmp_path}/database" in noted.paths


def test_folders_to_observe(tmp_path: Path) -> None:
    """That of a file is observed without those below; before a first run, what config names."""
    (tmp_path / "list.txt").touch()
    config = '{"Prepare": {"images": ["photos", "list.txt"]}, "Live": {"log": "sqlite:log/x"}}'
    loaded = Loaded(parse(config), tmp_path)

    assert targets_of(loaded) == {(f"{tmp_path}/photos", True), (str(tmp_path), False)}
    assert f"{tmp_path}/log/x" in own_paths(loaded)
    assert f"{tmp_path}/data/embeddings/" in own_paths(loaded)


@pytest.mark.parametrize(
    ("kind", "is_remote"),
    [("nfs4", True), ("cifs", True), ("fuse.sshfs", True), ("ext4", False), ("overlay", False)],
)
def test_network_shares_are_listed(kind: str, is_remote: bool) -> None:
    """The system tells nothing of what other machines change there."""
    assert is_remote == bool(REMOTE.fullmatch(kind))
