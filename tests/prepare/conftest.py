"""The model and the workspace of the tests of prepare."""

from pathlib import Path

import pytest

from tests.prepare.workspace import Workspace, add_images
from tests.tiny_model import write_tiny_model


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny model's folder."""
    return write_tiny_model(tmp_path_factory.mktemp("model") / "tiny")


@pytest.fixture
def workspace(tmp_path: Path, model: Path) -> Workspace:
    """A workspace without images."""
    made = Workspace(tmp_path, model)
    made.images.mkdir()
    return made


@pytest.fixture
def twelve(workspace: Workspace) -> Workspace:
    """A workspace with twelve images, prepared, in chunks of four."""
    add_images(workspace.images, range(12))
    small = workspace.having(chunk_size=4)
    small.prepare()
    return small
