"""What ONNX Runtime counts about its use stays here: nothing is sent or written."""

import os
import subprocess
import sys
from pathlib import Path

from devtools.services import CHECKOUT


def test_no_runtime_writes_in_the_home_folder(tmp_path: Path) -> None:
    """Also outside CI, which ONNX Runtime recognizes and does not count."""
    told = {name: value for name, value in os.environ.items() if name != "CI"}
    code = "import inference.runtimes.onnx_runtime"
    home = {"HOME": str(tmp_path), "PYTHONPATH": str(CHECKOUT)}
    subprocess.run([sys.executable, "-c", code], env=told | home, check=True)

    assert [] == list(tmp_path.iterdir())
