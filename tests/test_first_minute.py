"""What `make` says before it installs or embeds anything."""

import json
import os
import re
import shutil
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from devtools.ports import free_ports
from devtools.services import CHECKOUT

MAKE = shutil.which("make") or "make"
PYTHON = f"PYTHON={sys.executable}"
OF_MAKE = ("MAKEFLAGS", "MFLAGS", "MAKELEVEL")
"""What a make tells those that it starts: our tests may be run by one."""


@pytest.fixture
def config(tmp_path: Path) -> dict[str, Any]:
    """The photographs that ship, for two middles and two replicas of search, in config.json."""
    front, inference, *others = free_ports(6)
    middles, search = ([f"127.0.0.1:{port}" for port in two] for two in (others[:2], others[2:]))
    config = {
        "Front": {"address": "127.0.0.1", "port": front},
        "Middle": {"server-list": middles},
        "Inference": {"address": "127.0.0.1", "port": inference},
        "Search": {"server-list": [search]},
        "Prepare": {"images": [str(CHECKOUT / "samples")]},
    }
    (tmp_path / "config.json").write_text(json.dumps(config))
    return config


@pytest.fixture
def venv(tmp_path: Path) -> Path:
    """An environment that is installed: the one of the tests."""
    python = tmp_path / "installed/bin/python"
    python.parent.mkdir(parents=True)
    python.write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    python.chmod(0o755)
    (tmp_path / "installed/.installed").touch()
    return tmp_path / "installed"


def make(folder: Path, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run make for an environment in a folder where there is none yet."""
    names = [f"{name}={folder / name}" for name in ("VENV", "TORCH")]
    return subprocess.run(
        [MAKE, *names, f"CONFIG={folder / 'config.json'}", *words],
        capture_output=True,
        text=True,
        cwd=CHECKOUT,
        timeout=60,
        env={**surroundings(), **environment},
    )


def surroundings() -> dict[str, str]:
    """The environment of a make that a user starts."""
    return {name: value for name, value in os.environ.items() if name not in OF_MAKE}


def refusal(folder: Path, *words: str, **environment: str) -> list[str]:
    """The errors that make ends with, before it makes anything."""
    before = sorted(folder.iterdir())
    done = make(folder, *words, **environment)
    assert 2 == done.returncode, done.stdout
    assert "installing" not in done.stdout
    assert "embedding" not in done.stdout + done.stderr
    assert before == sorted(folder.iterdir())
    lines = [line for line in done.stderr.splitlines() if not line.startswith("make")]
    assert all(line.startswith("error: ") for line in lines), lines
    return lines


def test_make_alone_lists_what_there_is(tmp_path: Path) -> None:
    """Each target with what it does; nothing is done."""
    done = make(tmp_path)
    targets = re.findall(r"^\.PHONY: (.*)", (CHECKOUT / "Makefile").read_text(), re.MULTILINE)

    assert 0 == done.returncode
    listed = re.findall(r"^  make (\S+) +\S", done.stdout, re.MULTILINE)
    assert sorted(targets[0].split()) == sorted(listed)


@pytest.mark.parametrize("goal", ["demo", "install", "dev", "torch"])
def test_without_a_compiler_the_command_that_installs_one_is_told(
    tmp_path: Path, config: dict[str, Any], goal: str
) -> None:
    """hnswlib could not be compiled."""
    (line,) = refusal(tmp_path, goal, PYTHON, PATH=str(tmp_path), CXX="")

    assert "a C++ compiler" in line


def test_all_that_is_missing_is_told_at_once(tmp_path: Path, config: dict[str, Any]) -> None:
    """A compiler that CXX names, the disk, and two ports."""
    ports = [config["Front"]["port"], int(config["Search"]["server-list"][0][1].rpartition(":")[2])]
    with (
        socket.create_server(("127.0.0.1", ports[0])),
        socket.create_server(("127.0.0.1", ports[1])),
    ):
        lines = refusal(tmp_path, "demo", PYTHON, "DISK_MB=1000000000", CXX="no-such-compiler")

    assert 4 == len(lines)
    assert "a C++ compiler (no-such-compiler)" in lines[0]
    assert "VENV=FOLDER" in lines[1]
    assert f"127.0.0.1:{ports[0]} cannot be used" in lines[2]
    assert "change Front.port in config.json" in lines[2]
    assert f"change Search.server-list 127.0.0.1:{ports[1]} in config.json" in lines[3]


@pytest.mark.parametrize(
    ("goal", "variable", "size"),
    [("install", "VENV", "DISK_MB"), ("torch", "TORCH", "DISK_MB"), ("dev", "VENV", "DOWNLOAD_MB")],
)
def test_a_small_disk_is_told(tmp_path: Path, goal: str, variable: str, size: str) -> None:
    """For the environment, and for what is downloaded to the same disk."""
    (line,) = refusal(tmp_path, goal, PYTHON, f"{size}=1000000000", TMPDIR=str(tmp_path))

    assert f"{variable}=FOLDER" in line


def test_the_wrong_python_is_told(tmp_path: Path, config: dict[str, Any]) -> None:
    """One that is none of those that will do, and one that is not there."""
    (line,) = refusal(tmp_path, "demo", PYTHON, "PYTHONS=3.98 3.99")
    mine = f"{sys.version_info[0]}.{sys.version_info[1]}"
    assert line.endswith(
        f"is Python {mine}; clip-search needs one of 3.98, 3.99. "
        "Install one, then run: make PYTHON=python3.99 demo"
    )
    (line,) = refusal(tmp_path, "demo", "PYTHON=python3.97")
    assert "there is no python3.97" in line


def test_a_broken_config_is_told_before_anything_is_installed(tmp_path: Path) -> None:
    """And one that is not there."""
    assert "config: cannot read" in refusal(tmp_path, "demo", PYTHON)[0]
    (tmp_path / "config.json").write_text("{")
    assert "config.json is not JSON" in refusal(tmp_path, "demo", PYTHON)[0]


def test_a_taken_port_is_told_before_anything_is_embedded(
    tmp_path: Path, config: dict[str, Any], venv: Path
) -> None:
    """Also where the environment is whole, and by the default of a key that is not written."""
    del config["Front"]["port"]
    (tmp_path / "config.json").write_text(json.dumps(config))
    with socket.socket() as default:
        default.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            default.bind(("127.0.0.1", 8000))
            default.listen()
        except OSError:
            pass  # someone else has it, which is as good
        (line,) = refusal(tmp_path, "demo", f"VENV={venv}")
    assert "127.0.0.1:8000 cannot be used" in line


@pytest.mark.parametrize("by_environment", [False, True])
@pytest.mark.parametrize(
    ("images", "words"),
    [
        ("", []),
        ("/x/My Pictures", ["add", "--", "/x/My Pictures"]),
        ("~/a & b:-c:/d'$(e)\"*#", ["add", "--", "~/a & b", "-c", "/d'$(e)\"*#"]),
    ],
)
def test_folders_are_handed_on_as_they_are_called(
    tmp_path: Path, venv: Path, images: str, words: list[str], by_environment: bool
) -> None:
    """E: IMAGES is split at colons alone; offline images, status 3, do not stop the start."""
    log = tmp_path / "log"
    program = f'#!/bin/sh\nprintf "%s\\0" "$@" >>{log}\n[ "$1" != prepare/prepare.py ] || exit 3\n'
    (venv / "bin/python").write_text(program)
    given = {"IMAGES": images}
    named = [] if by_environment else [f"IMAGES={images}"]
    done = make(tmp_path, "demo", f"VENV={venv}", *named, **(given if by_environment else {}))

    assert 0 == done.returncode, done.stderr
    config = ["--config", str(tmp_path / "config.json")]
    supervisor = ["-m", "common.supervisor", *config]
    assert log.read_text().split("\0")[:-1] == [
        *(*supervisor, "--check-ports"),
        *("prepare/prepare.py", *config, *words),
        *supervisor,
    ]
