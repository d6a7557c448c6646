"""Programs of other projects: how they are installed, started and ended."""

import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import urllib3

from common.errors import MissingPackage
from devtools.other_programs import Command, Environment, ask, serving
from devtools.services import free_ports

BROKEN = Environment("broken", ("./there-is-no-such-package.whl",))
SERVER = """
import http.server, os, sys
told = os.environ["HOME"] + os.environ["MORE"]
class Handler(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.end_headers()
        self.wfile.write(told.encode())
http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""


def test_what_cannot_be_installed_says_why(tmp_path: Path) -> None:
    """Each time, as nothing marks a half made environment as whole."""
    for _ in range(2):
        with pytest.raises(MissingPackage, match="broken"):
            BROKEN.bin(tmp_path)


def test_what_was_left_half_made_is_made_anew(tmp_path: Path) -> None:
    """Whoever made or deleted it may have been killed: it need not even be an environment."""
    (tmp_path / "empty/lib").mkdir(parents=True)
    program = Environment("empty", ("pip",)).bin(tmp_path) / "python"

    assert program.exists()


def test_two_that_ask_at_once_install_it_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As tests do that run side by side: the second would clear what the first has installed."""
    steps: list[str] = []

    def step(_self: Environment, *arguments: str) -> None:
        steps.append(arguments[0])
        if arguments[0] == "venv":
            Path(arguments[-1]).mkdir()
        time.sleep(0.1)

    monkeypatch.setattr(Environment, "_uv", step)
    with ThreadPoolExecutor(2) as threads:
        folders = list(threads.map(Environment("shared", ("a",)).bin, [tmp_path, tmp_path]))

    assert [tmp_path / "shared/bin"] * 2 == folders
    assert ["venv", "pip"] == steps


def test_a_server_answers_until_the_block_ends(tmp_path: Path) -> None:
    """It has its home and its environment; then nobody listens any more."""
    (port,) = free_ports(1)
    arguments = [sys.executable, "-c", SERVER, str(port)]
    url = f"http://127.0.0.1:{port}"

    with serving(Command(arguments, tmp_path, {"MORE": "more"}), url, {}):
        assert f"{tmp_path}more" == ask(url, {}).data.decode()
    with pytest.raises(urllib3.exceptions.HTTPError):
        ask(url, {})


def test_a_server_that_ends_tells_its_output(tmp_path: Path) -> None:
    """And is not waited for."""
    (port,) = free_ports(1)
    command = Command([sys.executable, "-c", "print('no such model')"], tmp_path)

    with pytest.raises(RuntimeError, match="no such model"):
        with serving(command, f"http://127.0.0.1:{port}", {}):
            pass
