"""A collection that is prepared in parts, and all that a run of it makes."""

import subprocess
from pathlib import Path

import msgspec
from msgspec.structs import replace

from prepare.plans import PlanFolder, open_plans
from search.manifest import Manifest
from tests.prepare.prepared_folder import Workspace, add_images
from tests.prepare.version_files import files_in_use
from tests.prepare.waiting import wait_for

SHARDS = 6


def many(root: Path, model: Path, images: int = 90) -> Workspace:
    """Images in chunks of two, copies of every ninth, and three broken ones."""
    workspace = Workspace(root, model, {"chunk-size": 2}, shards=SHARDS)
    for path in add_images(workspace.images, range(images))[::9]:
        (workspace.images / f"copy-{path.name}").write_bytes(path.read_bytes())
    for number in range(3):
        (workspace.images / f"broken-{number}.jpg").write_bytes(b"broken" * (number + 1))
    return workspace


def everything(workspace: Workspace) -> tuple[object, ...]:
    """The bytes of all that a run has made; the order of the journal and the time do not count."""
    folder = workspace.embeddings.path
    names = sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))
    files = {name: (folder / name).read_bytes() for name in names if name != "journal.jsonl"}
    journal = sorted(map(msgspec.json.encode, workspace.embeddings.entries()))
    index = {name: path.read_bytes() for name, path in files_in_use(workspace).items()}
    index = {name: data for name, data in index.items() if name != "MANIFEST"}
    manifest: Manifest = replace(workspace.manifest(), created="", sha256="")
    return files, journal, index, manifest


def opened(folder: Path, process: subprocess.Popen[str]) -> PlanFolder:
    """The plan in a folder, as soon as it is open."""
    wait_for(lambda: bool(open_plans(folder)), process)
    (plan,) = open_plans(folder)
    return plan
