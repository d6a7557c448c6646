"""What the tools' tests run against."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from devtools.collection import Collection
from devtools.services import Cluster, cluster, with_section


@pytest.fixture(scope="package")
def collection(tmp_path_factory: pytest.TempPathFactory) -> Collection:
    """A collection of 20 images in two shards, of the tiny model."""
    return Collection(tmp_path_factory.mktemp("collection"), images=20, shards=2)


@pytest.fixture(scope="package")
def services(collection: Collection) -> Iterator[Cluster]:
    """All services over it; what one test asked is not kept for the next."""
    config = with_section(collection.config, "Middle", cache="off")
    with cluster(config, 2, collection.folder) as services:
        yield services


@pytest.fixture
def wrk(tmp_path: Path) -> Path:
    """A folder for wrk's files; where there is no wrk skip, or fail under CI=true."""
    if not shutil.which("wrk"):
        absent = pytest.fail if os.environ.get("CI") == "true" else pytest.skip
        absent("wrk is not installed (package wrk)")
    return tmp_path
