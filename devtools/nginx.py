"""nginx with the shipped configuration, in front of a front server on this machine."""

import getpass
import os
import re
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from common.errors import MissingPackage
from devtools.services import CHECKOUT, STOP_S, free_ports

CONF = CHECKOUT / "edge/nginx.conf"
PER_ADDRESS = 64
MANY = 1000
"""A `per_address` for load tests, where all users share one address."""
TEMPORARY = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")


def require_nginx() -> str:
    """The path of nginx; raises MissingPackage."""
    program = shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin")
    if program is None:
        raise MissingPackage("nginx is not installed (package nginx-light)")
    return program


def write_conf(front: str, port: int, folder: Path, per_address: int) -> Path:
    """Write the shipped configuration, changed to this front, port and folder; returns its path."""
    text = CONF.read_text().replace("server front:8000;", f"server {front};")
    text = text.replace("listen 8080;", f"listen 127.0.0.1:{port};")
    text = text.replace(
        f"limit_conn addresses {PER_ADDRESS};", f"limit_conn addresses {per_address};"
    )
    kept = "".join(f"{name}_temp_path {folder}/{name};" for name in TEMPORARY)
    text = re.sub(r"^http \{", f"http {{ {kept}", text, flags=re.MULTILINE)
    conf = folder / "nginx.conf"
    conf.write_text(text)
    return conf


@contextmanager
def edge(front_port: int, folder: Path, per_address: int = PER_ADDRESS) -> Iterator[int]:
    """Run nginx in front of a front server; yields its port.

    `per_address` is the number of requests that one address may have in flight. Raises
    MissingPackage.
    """
    program, (port,) = require_nginx(), free_ports(1)
    conf = write_conf(f"127.0.0.1:{front_port}", port, folder, per_address)
    command = [program, "-p", str(folder), "-c", str(conf), "-e", "stderr"]
    # Only this user may read the folders of pytest: the workers must run as this user.
    user = f"user {getpass.getuser()};" if os.geteuid() == 0 else ""
    foreground = ["-g", f"daemon off; {user} pid {folder}/nginx.pid;"]
    with (folder / "nginx.log").open("wb") as log:
        process = subprocess.Popen([*command, *foreground], stdout=log, stderr=log)
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
