"""Running TorchServe for tests, as the README says but on free ports and with few workers."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import urllib3

from devtools.services import CHECKOUT, Service, free_ports, run_command

SNAPSHOT = CHECKOUT / "inference/snapshot_8.cfg"
PORTS = ("inference", "management", "metrics", "grpc_inference", "grpc_management")
START_S = 180
STOP_S = 60


@dataclass
class TorchServe(Service):
    """TorchServe; `port` is that of its inference API."""

    folder: Path = Path()
    ports: Sequence[int] = ()

    @property
    def key_file(self) -> Path:
        """Where it writes its keys."""
        return self.folder / "key_file.json"

    def key(self, kind: str) -> dict[str, str]:
        """The headers for a kind of key: inference, management or API."""
        key = json.loads(self.key_file.read_bytes())[kind]["key"]
        return {"Authorization": f"Bearer {key}"}

    def other(self, method: str, api: str, path: str, **options: Any) -> urllib3.BaseHTTPResponse:
        """A request to its management or metrics API."""
        port = self.ports[PORTS.index(api)]
        return urllib3.request(method, f"http://127.0.0.1:{port}{path}", retries=False, **options)


@contextmanager
def torchserve(
    folder: Path, config: dict[str, Any], ports: Sequence[int] = ()
) -> Iterator[TorchServe]:
    """Archive the models of a config, whose paths start from `folder`, and serve them from there.

    `ports` are those of a server that ran before, to start it again.
    """
    if not (os.environ.get("JAVA_HOME") or shutil.which("java")):
        reason = "TorchServe needs Java: apt-get install default-jre-headless"
        (pytest.fail if os.environ.get("CI") else pytest.skip)(reason)
    for name in ("store", "tmp"):
        (folder / name).mkdir(exist_ok=True)
    store = ("--model-store", "store")
    done = run_command("inference/archive.py", config, *store, cwd=folder)
    assert done.returncode == 0, done.stderr
    ports = ports or free_ports(len(PORTS))
    (folder / "ts.cfg").write_text(settings(ports))
    (folder / "key_file.json").unlink(missing_ok=True)
    command = [str(Path(sys.executable).parent / "torchserve"), "--start", "--foreground"]
    with (folder / "torchserve.log").open("w") as log:
        process = subprocess.Popen(
            [*command, *store, "--ts-config", "ts.cfg"],
            stdout=log,
            stderr=subprocess.STDOUT,
            text=True,
            cwd=folder,
            start_new_session=True,  # a group to stop: it, Java, and the workers
            env={**os.environ, "TMPDIR": str(folder / "tmp"), "TEMP": str(folder / "tmp")},
        )
    server = TorchServe(process, ports[0], folder=folder, ports=ports)
    try:
        wait_until_ready(server)
        yield server
    finally:
        stop_group(process)


def settings(ports: Sequence[int]) -> str:
    """snapshot_8.cfg, but for other ports and one worker a model."""
    text = (
        SNAPSHOT.read_text()
        .replace('Workers": 8', 'Workers": 1')
        .replace('Workers": 2', 'Workers": 1')
    )
    for name, port in zip(PORTS[:3], ports, strict=False):
        text, count = re.subn(f"(?m)^({name}_address=.*):[0-9]+$", rf"\g<1>:{port}", text)
        assert count == 1
    grpc = [f"{name}_port={port}" for name, port in zip(PORTS[3:], ports[3:], strict=True)]
    return "\n".join([text, *grpc, ""])


def wait_until_ready(server: TorchServe) -> None:
    """Wait until the worker of every model has loaded it; fails with the log when one never does.

    GET /ping says Healthy sooner, when the workers' processes have started.
    """
    until = time.monotonic() + START_S
    while not _is_ready(server):
        running = server.process.poll() is None and time.monotonic() < until
        assert running, (server.folder / "torchserve.log").read_text()[-5000:]
        time.sleep(0.2)


def _is_ready(server: TorchServe) -> bool:
    try:
        headers = server.key("management")
        for archive in (server.folder / "store").glob("*.mar"):
            (model,) = server.other(
                "GET", "management", f"/models/{archive.stem}", headers=headers
            ).json()
            if not all(worker["status"] == "READY" for worker in model["workers"]):
                return False
    except (OSError, ValueError, urllib3.exceptions.HTTPError):  # no key, half a key, no listener
        return False
    return True


def stop_group(process: subprocess.Popen[str]) -> None:
    """SIGTERM to a process and all that it started, which must go; SIGKILL when they do not."""
    until = time.monotonic() + STOP_S
    os.killpg(process.pid, signal.SIGTERM)
    process.wait()
    while _is_there(process.pid):
        if time.monotonic() > until:
            os.killpg(process.pid, signal.SIGKILL)
            raise AssertionError("TorchServe did not stop")
        time.sleep(0.2)


def _is_there(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True
