"""What needs torch or TorchServe is tested in an environment of its own: `make torch`."""

import functools
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

collect_ignore_glob = [] if find_spec("torch") else ["test_*.py"]

_worst: dict[tuple[str, str, str], float] = {}


@pytest.fixture(scope="session")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """A function: of a model in `originals`, the folder that holds its source and its export."""
    from inference.export import export
    from tests.torch.originals import write_m_clip, write_original

    @functools.cache
    def make(name: str) -> Path:
        folder = tmp_path_factory.mktemp(name)
        if name == "m-clip":
            write_m_clip(folder / "source")
        else:
            write_original(name, folder / "source")
        export(str(folder / "source"), folder / "exported", ["fp16", "int8"], keep_torch=True)
        return folder

    return make


@pytest.fixture
def worst() -> dict[tuple[str, str, str], float]:
    """The worst cosine by runtime, precision and tower, printed at the end."""
    return _worst


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Print the worst cosines of the parity tests."""
    for (runtime, precision, tower), cosine in sorted(_worst.items()):
        terminalreporter.write_line(f"{runtime} {precision} {tower}: worst cosine {cosine:.6f}")
