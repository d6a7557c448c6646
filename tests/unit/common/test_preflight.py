"""What must be there before anything is installed, each by itself."""

import ast
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from common import preflight
from common.config import parse
from common.services import addresses
from devtools.services import CHECKOUT
from tests.test_structure import imports


def test_a_small_disk_for_downloads_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where they are not on the disk of the environment."""
    monkeypatch.setenv("TMPDIR", "/proc")
    (line,) = preflight.disk_failures(CHECKOUT / ".venv", 0, 1)

    assert line.startswith("/proc has 0 MB free")
    assert "TMPDIR=FOLDER" in line


def test_an_old_environment_is_to_be_removed() -> None:
    """A Python that is there is named, and the environment of the old one goes first."""
    mine = f"{sys.version_info[0]}.{sys.version_info[1]}"
    (line,) = preflight.python_failures(["3.98"], Path(sys.prefix), "demo")
    assert f"rm -r {sys.prefix} && make PYTHON=python3.98 demo" in line
    assert [] == preflight.python_failures(["3.98", mine], Path(sys.prefix), "demo")


def test_an_old_python_can_read_what_tells_it_so() -> None:
    """Python 3.8 has no syntax error, and imports nothing that is to be installed."""
    path = CHECKOUT / "common/preflight.py"
    tree = ast.parse(path.read_text(), feature_version=(3, 8))

    assert {name.partition(".")[0] for name in imports(path)} <= sys.stdlib_module_names
    annotations = [
        found
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef)
        for found in [node.returns, *(one.annotation for one in node.args.args)]
    ]
    assert [] == [one for one in annotations if isinstance(one, ast.Subscript | ast.BinOp)]


@pytest.mark.parametrize(
    ("release", "cure"),
    [
        ("ID=ubuntu\nID_LIKE=debian\n", "apt-get install build-essential python3."),
        ('ID="rocky"\nID_LIKE="rhel centos fedora"\n', "dnf install gcc-c++ python3."),
        ("ID=arch\n", "Install g++ or clang++"),
    ],
)
def test_each_system_has_its_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, release: str, cure: str
) -> None:
    """By /etc/os-release."""
    monkeypatch.setenv("CXX", "no-such-compiler -O3")
    (tmp_path / "os-release").write_text(release)
    (line,) = preflight.package_failures(tmp_path / "os-release")

    assert "a C++ compiler (no-such-compiler)" in line
    assert cure in line


def test_rust_is_asked_for_where_there_is_no_wheel(monkeypatch: pytest.MonkeyPatch) -> None:
    """On Linux on ARM, unless Rust is there."""
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setenv("PATH", "")
    (line,) = preflight.rust_failures("aarch64")

    assert "no wheel for aarch64" in line
    assert "https://rustup.rs" in line
    assert [] == preflight.rust_failures("x86_64")
    monkeypatch.setattr(sys, "platform", "darwin")
    assert [] == preflight.rust_failures("arm64")


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"Inference": {"address": "127.0.0.1", "port": 8080, "key-file": "key_file.json"}},
        {"Middle": {"server-list": ["127.0.0.1:1", "127.0.0.1:2"]}},
        {"Gateway": {"address": "127.0.0.1", "port": 6, "http-port": 7}},
        {"Middle": {"address": "middle", "port": 1, "listen": "[::]:2"}},
        {"Search": {"server-list": ["127.0.0.1:3", ["127.0.0.1:4", "127.0.0.1:5"]]}},
    ],
)
def test_the_ports_are_those_that_the_services_will_have(changes: dict[str, Any]) -> None:
    """Those that a file spells out are read without our packages as they are with them."""
    config = {**json.loads((CHECKOUT / "config.json").read_bytes()), **changes}

    expected = sorted(addresses(parse(json.dumps(config))))
    assert expected == sorted(preflight.written_addresses(config))


@pytest.mark.parametrize(
    "odd",
    [
        [],
        {"Front": 1},
        {"Front": {"address": "a", "port": "b"}},
        {"Search": {"server-list": [[], "9000"]}},
    ],
)
def test_what_is_no_address_is_left_to_others(odd: object) -> None:
    """common/config.py says what is wrong with it."""
    assert [] == preflight.written_addresses(odd)
