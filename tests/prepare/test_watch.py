"""prepare.py watch: what changes in the folders can be found soon after."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from devtools.processes import reading, stop
from tests.prepare.live import delete, entries, id_of, metadata_of, patch, span
from tests.prepare.prepared_folder import Workspace, add_images, noise
from tests.prepare.waiting import wait_for

QUIET = ("--quiet-s", "0.3")


class Logless(Workspace):
    """A workspace where nothing can be put."""

    @property
    def config(self) -> dict[str, Any]:
        """With no log."""
        return {**super().config, "Live": {"log": None}}


class Watching:
    """A collection that is watched."""

    def __init__(self, workspace: Workspace, *options: str) -> None:
        self.workspace = workspace
        self.process = workspace.start("watch", *QUIET, *options)
        self.lines: list[str] = []
        self._seen = 0

    def wait_for_entries(self, count: int) -> list[str]:
        """Wait until the log has so many entries more than the last time; what they do."""
        end = self._seen + count
        wait_for(lambda: span(self.workspace)[1] >= end, self.process)
        done = self.done()[self._seen :]
        self._seen += len(done)
        return done

    def wait_for_line(self, text: str) -> None:
        """Wait until a line tells of something."""
        wait_for(lambda: any(text in line for line in self.lines), self.process)

    def done(self) -> list[str]:
        """What each entry of the log does, to the image at which path."""
        known = {name: path for path, name in self.workspace.ids().items()}
        told = []
        for op, name, record in entries(self.workspace):
            if record:
                known[name] = record.path
            told.append(f"{op} {known.get(name)}")
        return told


@contextmanager
def watching(workspace: Workspace, *options: str) -> Iterator[Watching]:
    """A collection that is watched, once its first look has ended."""
    made = Watching(workspace, *options)
    with reading(made.process) as (lines, _):
        made.lines = lines
        made.wait_for_line("recall@10")
        yield made
        assert stop(made.process) == -15, "".join(lines)


@pytest.mark.parametrize("options", [(), ("--poll-s", "0.2")])
def test_files_that_come_move_change_and_go(twelve: Workspace, options: tuple[str, ...]) -> None:
    """Each goes to the log, not to a new version; the next run of prepare has all of it."""
    images = twelve.images
    with watching(twelve, *options) as seen:
        add_images(images / "new", [20])
        assert seen.wait_for_entries(1) == ["put images/new/00020.png"]

        patch(twelve, id_of(twelve, images / "new/00020.png"), title="owl")
        (images / "new/00020.png").rename(images / "moved.png")
        assert seen.wait_for_entries(3)[1:] == [
            "put images/moved.png",
            "delete images/new/00020.png",
        ]
        (_, _, record) = entries(twelve)[-2]
        assert record
        assert record.metadata == {"title": "owl"}

        noise(77).save(images / "00003.png")
        assert seen.wait_for_entries(2) == ["put images/00003.png", "delete images/00003.png"]

        (images / "00004.png").unlink()
        assert seen.wait_for_entries(1) == ["delete images/00004.png"]
        assert twelve.current() == "v000001"

    told = twelve.prepare()
    assert "12 images, 0 looked at in this run" in told
    assert metadata_of(twelve)["images/moved.png"] == {"title": "owl"}
    assert twelve.current() == "v000002"


def test_a_folder_that_is_not_mounted_is_not_deleted(twelve: Workspace, tmp_path: Path) -> None:
    """Its images are offline in the log, and there again when it is; later files come in."""
    with watching(twelve) as seen:
        away = twelve.images.rename(tmp_path / "away")
        assert {line.split()[0] for line in seen.wait_for_entries(12)} == {"put"}
        seen.wait_for_line("12 images are offline: there is no folder")
        assert all(record and record.offline for _, _, record in entries(twelve)[-12:])

        away.rename(twelve.images)
        assert {line.split()[0] for line in seen.wait_for_entries(12)} == {"put"}
        assert not any(record and record.offline for _, _, record in entries(twelve)[-12:])

        add_images(twelve.images, [20])
        assert seen.wait_for_entries(1) == ["put images/00020.png"]


def test_tables_that_change(workspace: Workspace) -> None:
    """Metadata of a table goes to the log, each change of it; a patch between them stays."""
    add_images(workspace.images, range(2))
    table = workspace.root / "table.csv"
    table.write_text("path,title\nimages/00000.png,a\nimages/00001.png,b\n")
    workspace.prepare(str(table))
    with watching(workspace) as seen:
        for title in ("c", "d"):
            table.write_text(f"path,title\nimages/00000.png,a\nimages/00001.png,{title}\n")
            assert seen.wait_for_entries(1) == ["put images/00001.png"]
            (_, _, record) = entries(workspace)[-1]
            assert record
            assert record.metadata == {"title": title}
        patch(workspace, id_of(workspace, workspace.images / "00001.png"), title="e")
        table.write_text("path,title\nimages/00000.png,x\nimages/00001.png,d\n")
        assert seen.wait_for_entries(2)[1] == "put images/00000.png"

    workspace.prepare()
    metadata = metadata_of(workspace)
    assert [metadata[f"images/0000{n}.png"] for n in (0, 1)] == [{"title": "x"}, {"title": "e"}]


def test_what_was_deleted_live_stays_out(twelve: Workspace) -> None:
    """Though its file is there, and others change."""
    with watching(twelve) as seen:
        delete(twelve, id_of(twelve, twelve.images / "00003.png"))
        add_images(twelve.images, [20])
        assert seen.wait_for_entries(2)[-1] == "put images/00020.png"
    assert "12 images" in twelve.prepare()
    assert "images/00003.png" not in twelve.ids()


def test_without_a_log_an_index_is_built(twelve: Workspace) -> None:
    """For each change."""
    made = Logless(twelve.root, twelve.model, twelve.keys)
    with watching(made) as seen:
        add_images(made.images, [20])
        wait_for(lambda: made.current() == "v000002", seen.process)
    assert len(made.ids()) == 13


def test_a_first_look_that_fails_ends_it(workspace: Workspace) -> None:
    """As any run: there is nothing to watch."""
    failed = workspace.run("watch")
    assert failed.returncode == 2
    assert "there are no images to index" in failed.stderr
    assert "takes no path" in workspace.run("watch", "x").stderr
