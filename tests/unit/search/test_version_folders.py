"""Which versions are deleted from a disk."""

from pathlib import Path

import numpy as np

from search.manifest import Current, version_names
from search.version_folders import delete_old, delete_unfinished
from tests.unit.indexing import folders_in, write_version

VECTORS = np.eye(2, dtype=np.float32)


def test_the_version_in_use_the_one_before_and_the_newest_stay(tmp_path: Path) -> None:
    """Whatever their numbers; one that never got a manifest goes."""
    folders = folders_in(tmp_path)
    named = [write_version(folders, f"v00000{n}", VECTORS).named for n in range(1, 6)]
    for folder in folders.all():
        (folder / "v000006").mkdir()
    delete_unfinished(folders)
    delete_old(folders, Current(named[1], named[0]), keep=3)

    for folder in folders.all():
        assert version_names(folder) == ["v000001", "v000002", "v000005"]
    delete_old(folders, Current(named[1]), keep=1)
    assert version_names(folders.index) == ["v000002"]
