"""What needs torch or TorchServe is tested in an environment of its own: `make torch`."""

import os
import shutil
from collections.abc import Callable
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock

PRECISIONS = ["fp16", "int8"]
collect_ignore_glob = [] if find_spec("torch") else ["test_*.py"]


@pytest.fixture(scope="session")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """A function: of a model in `originals`, the folder that holds its source and its export.

    It is made once, by whichever worker of pytest-xdist asks first.
    """
    from devtools.random_model import random_model
    from inference.export import export
    from tests.torch.originals import REAL, write_m_clip, write_original

    root = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        root = root.parent  # which the workers have in common

    def make(name: str) -> Path:
        folder = root / f"exported-{name}"
        source = folder / "source"  # it may name itself in its files: it stays where it was made
        with FileLock(f"{folder}.lock"):
            if not (folder / "done").exists():
                shutil.rmtree(folder, ignore_errors=True)
                folder.mkdir()
                if name == REAL:  # as the benchmarks do
                    random_model(name, folder, PRECISIONS)
                    (folder / "sources" / name).rename(source)
                    (folder / name).rename(folder / "exported")
                else:
                    write = write_m_clip if name == "m-clip" else partial(write_original, name)
                    export(str(write(source)), folder / "exported", PRECISIONS, keep_torch=True)
                (folder / "done").touch()
        return folder

    return make


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Print the worst cosines that the parity tests recorded, in whichever worker they ran."""
    worst: dict[str, float] = {}
    for report in terminalreporter.getreports("passed"):
        for name, cosine in report.user_properties:
            worst[name] = min(worst.get(name, 1), cosine)
    for name, cosine in sorted(worst.items()):
        terminalreporter.write_line(f"{name}: worst {cosine:.6f}")
