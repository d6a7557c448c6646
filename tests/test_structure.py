"""What style.md fixes about the shape of the code."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from devtools.services import CHECKOUT
from inference.archive import packed

PRODUCTION = (
    "clip_server",
    "common",
    "front",
    "gateway",
    "middle",
    "inference",
    "search",
    "prepare",
)
TOOLS = ("devtools", "benchmarks", "evaluation", "tests")
PACKAGES = (*PRODUCTION, *TOOLS)
MAY_IMPORT = {
    "common": set(),
    "clip_server": {"common", "inference"},
    "search": {"common"},
    "inference": {"common"},
    "middle": {"common", "inference", "search"},
    "front": {"common", "middle"},
    "gateway": {"common", "middle"},
    "prepare": {"common", "inference", "search"},
}
# Whoever serves owns the wire: others see its client, its messages, its keys.
WIRES = {
    "gateway": {"middle.client", "middle.messages", "middle.write_messages"},
    "front": {
        "middle.browse_messages",
        "middle.client",
        "middle.messages",
        "middle.query_checks",
        "middle.segment_messages",
        "middle.write_checks",
        "middle.write_messages",
    },
    "middle": {
        "inference.client",
        "inference.messages",
        "inference.prompt_checks",
        "search.browse_messages",
        "search.client",
        "search.messages",
        "search.query_batch",
        "search.image_key",
        "search.filter",
        "search.log",
    },
}


FRAMEWORK = {"flask", "werkzeug"}
SERVERS = {"gunicorn", "waitress", "granian"}
OURS = ("self", "os", "sys")
"""Whose names with a `_` our code may use: Python's own have no other."""


def modules(package: str) -> Iterator[Path]:
    return (CHECKOUT / package).rglob("*.py")


def imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module


@pytest.mark.parametrize("package", MAY_IMPORT)
def test_imports_point_one_way(package: str) -> None:
    """A package imports only those that design.md lets it, and of them only what is public."""
    for path in modules(package):
        for name in imports(path):
            owner = name.split(".")[0]
            if owner in PACKAGES and owner != package:
                assert owner in MAY_IMPORT[package], f"{path} imports {name}"
                wire = WIRES.get(package)
                assert owner == "common" or not wire or name in wire, f"{path} imports {name}"


@pytest.mark.parametrize("package", TOOLS)
def test_devtools_are_all_that_tools_share(package: str) -> None:
    """Tests, benchmarks and evaluation import devtools, and nothing of each other."""
    for path in modules(package):
        for name in imports(path):
            owner = name.split(".")[0]
            assert owner in (package, "devtools") or owner not in TOOLS, f"{path} imports {name}"


def test_benchmarks_are_short() -> None:
    """All of them together have at most 1,850 lines."""
    assert sum(path.read_text().count("\n") for path in modules("benchmarks")) <= 1850


@pytest.mark.parametrize("package", PRODUCTION)
def test_the_web_is_at_the_edge(package: str) -> None:
    """Flask is known in front, the apps and common/server alone; servers in common/server."""
    for path in modules(package):
        is_server = CHECKOUT / "common/server" in path.parents
        is_edge = is_server or package == "front" or path.name == "app.py"
        used = {name.split(".")[0] for name in imports(path)}
        assert is_server or not used & SERVERS, path
        assert is_edge or not used & FRAMEWORK, path


def test_servers_are_told_what_to_do_by_public_names_alone() -> None:
    """No worker, arbiter, task or channel of theirs is imported, and nothing that has a `_`."""
    known = {"gunicorn.app.base", "waitress", "granian", "granian.http"}
    found = set()
    for path in modules("common/server"):
        found |= {name for name in imports(path) if name.split(".")[0] in SERVERS}
        assert [] == list(private_names(ast.parse(path.read_text()))), path
    assert known == found


def private_names(tree: ast.AST) -> Iterator[str]:
    """The names with a `_` that a module uses of others."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            yield from (alias.name for alias in node.names if alias.name.startswith("_"))
        elif isinstance(node, ast.Attribute) and node.attr.startswith("_"):
            owner = ast.unparse(node.value)
            if owner not in OURS and not node.attr.startswith("__"):
                yield f"{owner}.{node.attr}"


def test_private_names_are_found() -> None:
    """In each of the forms that there are."""
    assert ["_a"] == list(private_names(ast.parse("from gunicorn import _a")))
    assert ["worker._b"] == list(private_names(ast.parse("worker._b()")))
    assert ["server.x._c"] == list(private_names(ast.parse("server.x._c = 1")))


def test_the_handler_of_torchserve_has_one_class() -> None:
    """TorchServe looks for the only class of the file, and starts no worker where there are two."""
    tree = ast.parse((CHECKOUT / "inference/torchserve/handler.py").read_text())
    assert ["Handler"] == [node.name for node in tree.body if isinstance(node, ast.ClassDef)]


def test_what_torchserve_runs_needs_no_web_framework() -> None:
    """The handler can be imported from what an archive holds, without our servers' packages."""
    code = (
        "import sys; sys.modules |= dict.fromkeys"
        "(['flask', 'werkzeug', 'gunicorn', 'waitress', 'aiohttp', 'common.server']);"
        "import inference.torchserve.handler"
    )
    subprocess.run([sys.executable, "-c", code], cwd=CHECKOUT, check=True)
    left_out = {"common/server/serve.py", "inference/app.py"}
    names = {path.relative_to(CHECKOUT).as_posix() for path in packed()}
    assert {"common/wire.py", "inference/served_model.py"} <= names
    assert not left_out & names


@pytest.mark.parametrize("module", ["middle.app", "front.app", "gateway.server"])
def test_importing_a_server_at_the_edge_is_light(module: str) -> None:
    """Importing front, middle or the gateway pulls in no torch, no hnswlib and no ONNX Runtime."""
    code = f"import sys, {module}; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=CHECKOUT, capture_output=True, text=True, check=True
    )
    assert not {"torch", "hnswlib", "onnxruntime"} & set(done.stdout.split())


@pytest.mark.parametrize(
    "module", ["prepare.prepare", "prepare.rollback", "search.search", "inference.inference"]
)
def test_what_is_optional_may_be_missing(module: str) -> None:
    """Every program can be imported with what requirements.txt names."""
    missing = ["obstore", "faiss", "cv2", "rawpy", "granian", "opentelemetry", "torch", "ray"]
    code = f"import sys; sys.modules |= dict.fromkeys({missing}); import {module}"
    subprocess.run([sys.executable, "-c", code], cwd=CHECKOUT, check=True)


def test_files_and_functions_are_short() -> None:
    """No file is over 250 lines and no function over 60; nine functions in ten are under 35."""
    lengths = []
    for package in PACKAGES:
        for path in modules(package):
            text = path.read_text()
            assert text.count("\n") <= 250, path
            for node in ast.walk(ast.parse(text)):
                if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                    lengths.append(
                        (1 + (node.end_lineno or 0) - node.lineno, f"{path}:{node.name}")
                    )
    assert max(lengths) <= (60, ""), max(lengths)
    assert sorted(lengths)[len(lengths) * 9 // 10] < (35, "")


def test_only_the_configuration_reads_the_environment() -> None:
    """os.environ is for common/config.py, and for what a library reads there."""
    names = ("config", "preflight", "server/worker_metrics")
    allowed = {CHECKOUT / f"common/{name}.py" for name in names}
    allowed |= {CHECKOUT / "clip_server/__main__.py"}  # CLIP-as-service's own variables
    allowed |= {CHECKOUT / "inference/runtimes/onnx_runtime.py"}
    for package in PRODUCTION:
        for path in set(modules(package)) - allowed:
            assert "os.environ" not in path.read_text(), path
