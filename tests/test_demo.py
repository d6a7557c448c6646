"""`make demo` as users run it: what it says, and which images it indexes."""

import json
import os
import re
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from devtools.services import CHECKOUT, http
from tests.test_first_minute import MAKE, surroundings
from tests.test_first_minute import config as config
from tests.test_first_minute import venv as venv

WARNED = r"level=(?!info|debug)|status=5|(?i:warning|error|deprecat|traceback)"
"""Of our lines those above info; of a library's, those in which it warns of something."""


@contextmanager
def demo(tmp_path: Path, venv: Path, *words: str) -> Iterator[list[str]]:
    """The lines of `make demo`, until it is ready; Ctrl-C ends it."""
    process = subprocess.Popen(
        [MAKE, "demo", f"VENV={venv}", f"CONFIG={tmp_path / 'config.json'}", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=CHECKOUT,
        start_new_session=True,
        env=surroundings(),
    )
    assert process.stdout is not None
    lines: list[str] = []
    try:
        for line in process.stdout:
            lines.append(line)
            if "Ctrl-C stops" in line:
                break
        yield lines
    finally:
        os.killpg(process.pid, signal.SIGINT)
        lines += process.stdout
        process.stdout.close()
        process.wait()


def test_a_healthy_start_warns_of_nothing(
    tmp_path: Path, config: dict[str, Any], venv: Path
) -> None:
    """Servers ask each other before they listen; replicas are ejected until they do."""
    with demo(tmp_path, venv) as lines:
        ready = "".join(lines)

    assert f"ready: http://127.0.0.1:{config['Front']['port']}/" in ready
    (model,) = (line for line in ready.splitlines() if line.startswith("  model: "))
    assert model.startswith("  model: starter, which is not CLIP.")
    assert "Inference.clip" in model
    assert "docs/guide/models.md" in model
    assert "stopping:" in "".join(lines)
    assert [] == [line for line in ready.splitlines() if re.search(WARNED, line)]


def test_the_folders_that_were_named_are_the_collection(
    tmp_path: Path, config: dict[str, Any], venv: Path
) -> None:
    """Kind A: without IMAGES they are looked through again; no samples join, nothing is lost."""
    photos, samples = tmp_path / "My Pictures", tmp_path / "samples"
    for folder, names in ((photos, ("owl", "sheep", "koala")), (samples, ("bison",))):
        folder.mkdir()
        for name in names:
            shutil.copy(CHECKOUT / f"samples/{name}.jpg", folder)
    del config["Prepare"]
    (tmp_path / "config.json").write_text(json.dumps(config))

    with demo(tmp_path, venv, f"IMAGES={photos}") as lines:
        assert "3 images, 3 looked at in this run" in "".join(lines)
        first = found(config)
    shutil.copy(samples / "bison.jpg", photos)
    with demo(tmp_path, venv) as lines:
        assert "4 images, 1 looked at in this run" in "".join(lines)
        second = found(config)

    assert {"My Pictures/owl.jpg", "My Pictures/sheep.jpg", "My Pictures/koala.jpg"} == first
    assert first | {"My Pictures/bison.jpg"} == second


def found(config: dict[str, Any]) -> set[str]:
    """The paths of all images that can be found."""
    front = f"http://127.0.0.1:{config['Front']['port']}"
    reply = http.request("POST", f"{front}/v1/search", json={"text": "an animal"})
    assert 200 == reply.status, reply.data
    return {hit["path"] for hit in reply.json()["hits"]}
