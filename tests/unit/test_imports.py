"""Every module of the product is imported by a test of its own, or is told here why not."""

import ast
from pathlib import Path

from devtools.services import CHECKOUT
from tests.test_structure import PRODUCTION, modules

TORCH = "needs torch, which is not installed here: tests/torch runs it"
SERVED = "a server's own process: tests/common/test_drain.py starts one"
SOCKETS = "it is the wire of other programs: tests/gateway asks it by clip-client itself"
EXCEPTIONS = {
    "common.server.run_granian": SERVED,
    "common.server.run_gunicorn": SERVED,
    "common.server.run_waitress": SERVED,
    "common.server.traces": "needs a collector: tests/test_observability.py runs one",
    "gateway.http_server": SOCKETS,
    "gateway.server": SOCKETS,
    "gateway.websocket": SOCKETS,
    "inference.exporting.onnx_export": TORCH,
    "inference.runtimes.torch_runtime": TORCH,
}


def imported(path: Path) -> set[str]:
    """What a file imports: modules, and names that may be modules."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return names


def is_script(path: Path) -> bool:
    """Whether it has a main(): tests start it as a process."""
    tree = ast.parse(path.read_text())
    return any(isinstance(node, ast.FunctionDef) and node.name == "main" for node in tree.body)


def test_every_module_is_imported_by_a_test() -> None:
    """So that what it promises can be tested without starting a service."""
    tested = set().union(*map(imported, modules("tests")))
    paths = [path for package in PRODUCTION for path in modules(package)]
    missing = {
        ".".join(path.relative_to(CHECKOUT).with_suffix("").parts)
        for path in paths
        if path.name != "__init__.py" and not is_script(path)
    } - tested

    assert missing == set(EXCEPTIONS)
