"""nginx with the configuration that ships, before a front on this machine."""

import os
import re
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.services import CHECKOUT, STOP_S, free_ports

CONF = CHECKOUT / "edge/nginx.conf"
TEMPORARY = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")


def require_nginx() -> str:
    """The program nginx; where there is none skip, or fail under CI=true."""
    program = shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin")
    if program is None:
        absent = pytest.fail if os.environ.get("CI") == "true" else pytest.skip
        absent("nginx is not installed (package nginx-light)")
    return program


def write_conf(front: str, port: int, folder: Path) -> Path:
    """The shipped configuration for another front and port, that writes into a folder only."""
    text = CONF.read_text().replace("server front:8000;", f"server {front};")
    text = text.replace("listen 8080;", f"listen 127.0.0.1:{port};")
    kept = "".join(f"{name}_temp_path {folder}/{name};" for name in TEMPORARY)
    text = re.sub(r"^http \{", f"http {{ {kept}", text, flags=re.MULTILINE)
    conf = folder / "nginx.conf"
    conf.write_text(text)
    return conf


@contextmanager
def edge(front_port: int, folder: Path) -> Iterator[int]:
    """Run the edge before a front; gives its port."""
    program, (port,) = require_nginx(), free_ports(1)
    conf = write_conf(f"127.0.0.1:{front_port}", port, folder)
    command = [program, "-p", str(folder), "-c", str(conf), "-e", "stderr"]
    how = ["-g", f"daemon off; pid {folder}/nginx.pid;"]
    with (folder / "nginx.log").open("wb") as log:
        process = subprocess.Popen([*command, *how], stdout=log, stderr=log)
        try:
            _wait_until_listening(port, process)
            yield port
        finally:
            process.terminate()
            process.wait(STOP_S)


def _wait_until_listening(port: int, process: subprocess.Popen[bytes]) -> None:
    while process.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
            return
        except ConnectionRefusedError:
            time.sleep(0.02)
    raise AssertionError(f"nginx ended with {process.returncode}")
