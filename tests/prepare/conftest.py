"""The model and the workspace of the tests of prepare."""

from pathlib import Path

import pytest

from devtools.tiny_model import write_tiny_model
from tests.prepare.prepared_folder import Workspace, add_images


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


@pytest.fixture(scope="session")
def prepared(tmp_path_factory: pytest.TempPathFactory, model: Path) -> Workspace:
    """A workspace with twelve images, prepared, in chunks of four; to be copied, not changed."""
    made = Workspace(tmp_path_factory.mktemp("twelve"), model, {"chunk-size": 4})
    add_images(made.images, range(12))
    made.prepare()
    return made


@pytest.fixture
def twelve(prepared: Workspace, tmp_path: Path) -> Workspace:
    """A copy of `prepared`."""
    return prepared.copy(tmp_path / "copy")
