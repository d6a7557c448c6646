"""The one command: everything starts, what dies comes back, and everything stops."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import urllib3

from common.config import Config, Inference
from common.services import addresses, commands
from devtools.certificates import Authority
from devtools.collection import Collection
from devtools.services import CHECKOUT, free_ports, http, run_command, with_section

WAIT_S = 60


@pytest.fixture
def config_file(tmp_path: Path) -> Path:
    """A collection in two shards, with a config.json of free ports."""
    collection = Collection(tmp_path, images=20, shards=2)
    front, middle, inference, grpc, http_port, *search = free_ports(7)
    config: dict[str, Any] = {**collection.config}
    config["Front"] = {"port": front}
    config["Gateway"] = {"port": grpc, "http-port": http_port}
    config["Middle"] = {"port": middle}
    config["Inference"] = {**config["Inference"], "port": inference}
    config["Search"] = {**config["Search"], "server-list": [f"127.0.0.1:{p}" for p in search]}
    path = tmp_path / "config.json"
    path.write_text(json.dumps(config))
    return path


@contextmanager
def supervising(config_file: Path) -> Iterator[tuple[subprocess.Popen[str], list[str]]]:
    """The supervisor, and the lines that it prints."""
    process = subprocess.Popen(
        [sys.executable, "-m", "common.supervisor", "--config", str(config_file)],
        cwd=CHECKOUT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    lines: list[str] = []
    assert process.stdout is not None
    reader = threading.Thread(target=lines.extend, args=(process.stdout,))
    reader.start()
    try:
        yield process, lines
    finally:
        process.terminate()
        process.wait()
        reader.join()
        process.stdout.close()


def until(holds: Callable[[], bool], what: str) -> None:
    """Wait for something to become true."""
    deadline = time.monotonic() + WAIT_S
    while not holds():
        assert time.monotonic() < deadline, what
        time.sleep(0.05)


def services_of(config_file: Path) -> dict[str, int]:
    """The processes that run with a configuration, by script; workers share one with a parent."""
    found = {}
    for entry in Path("/proc").iterdir():
        try:
            command = (entry / "cmdline").read_bytes().decode().split("\0")
        except (OSError, UnicodeDecodeError):
            continue
        if str(config_file) in command and command[1].startswith(str(CHECKOUT)):
            found[Path(command[1]).stem + (command[3] if "search" in command[1] else "")] = int(
                entry.name
            )
    return found


def answers(config_file: Path, shards: int) -> bool:
    """Whether a query is answered from so many shards."""
    port = json.loads(config_file.read_text())["Front"]["port"]
    try:
        response = http.request("GET", f"http://127.0.0.1:{port}/v1/search?text=red&k=20")
    except urllib3.exceptions.HTTPError:
        return False
    return response.status == 200 and response.json()["coverage"]["shards"]["ok"] == shards


def test_everything_starts_what_dies_comes_back_and_everything_stops(config_file: Path) -> None:
    """Killed search and inference servers return; Ctrl-C ends all six."""
    with supervising(config_file) as (process, lines):
        until(lambda: any("ready: http" in line for line in lines), f"not ready: {lines}")
        assert answers(config_file, 2)
        assert any("curl" in line for line in lines)
        clip = json.loads(config_file.read_bytes())["Inference"]["clip"]
        assert any(line == f"  model: {clip}\n" for line in lines)
        before = services_of(config_file)
        assert {"front", "gateway", "middle", "inference", "search0", "search1"} == set(before)
        port = json.loads(config_file.read_bytes())["Gateway"]["port"]
        assert any(f"Client('grpc://127.0.0.1:{port}')" in line for line in lines)
        for name in ("search1", "inference"):
            os.kill(before[name], signal.SIGKILL)
        until(lambda: services_of(config_file).keys() == before.keys(), "it did not come back")
        until(lambda: answers(config_file, 2), "it does not answer again")
        process.send_signal(signal.SIGINT)

        assert process.wait(WAIT_S) == 0
    assert any("stopping: the public server first" in line for line in lines)
    assert services_of(config_file) == {}


def test_a_second_ctrl_c_ends_everything_at_once(config_file: Path) -> None:
    """Services that would serve on for ten minutes end when they are told again."""
    config = with_section(json.loads(config_file.read_bytes()), "Process", drain_wait_s=600)
    config_file.write_text(json.dumps(config))
    with supervising(config_file) as (process, lines):
        until(lambda: any("ready: http" in line for line in lines), f"not ready: {lines}")
        process.send_signal(signal.SIGINT)
        until(lambda: any("stopping: " in line for line in lines), f"not told: {lines}")
        deadline = time.monotonic() + WAIT_S
        while process.poll() is None:
            assert time.monotonic() < deadline, lines
            process.send_signal(signal.SIGINT)
            time.sleep(0.2)
    assert services_of(config_file) == {}


def test_everything_starts_with_certificates_and_keys(config_file: Path, tmp_path: Path) -> None:
    """Mutual TLS inside, TLS outside: it becomes ready, and the example says where the key goes."""
    authority = Authority(tmp_path / "authority")
    certificate = authority.issue("ours")
    config = json.loads(config_file.read_text()) | {"Inside": authority.inside(certificate)}
    config = with_section(config, "Front", tls_cert=str(certificate), keys_file="keys.json")
    config_file.write_text(json.dumps(config))
    with supervising(config_file) as (process, lines):
        until(lambda: any("ready: https://" in line for line in lines), f"not ready: {lines}")
        until(lambda: any("Bearer KEY" in line for line in lines), "no example")
        with authority.client() as client:
            url = f"https://127.0.0.1:{config['Front']['port']}"
            assert client.request("GET", f"{url}/ready").status == 200
            assert client.request("GET", f"{url}/v1/info").status == 401
        process.send_signal(signal.SIGINT)
        assert process.wait(WAIT_S) == 0
    assert services_of(config_file) == {}


def test_a_taken_port_is_named_before_anything_starts(config_file: Path) -> None:
    """The message has the port and the key to change."""
    config = json.loads(config_file.read_text())
    with socket.create_server(("127.0.0.1", config["Middle"]["port"])):
        done = run_command("common/supervisor.py", config, cwd=config_file.parent)

    assert done.returncode == 2
    assert f"127.0.0.1:{config['Middle']['port']}" in done.stderr
    assert f"Process {os.getpid()} listens there" in done.stderr
    assert "Middle.port" in done.stderr


def test_without_an_index_the_way_to_one_is_told(tmp_path: Path) -> None:
    """Before the first prepare there is nothing to serve."""
    done = run_command("common/supervisor.py", {}, cwd=tmp_path)

    assert done.returncode == 2
    assert "prepare/prepare.py" in done.stderr


def test_a_service_that_cannot_start_ends_all(config_file: Path) -> None:
    """An unknown model is told once, with status 2; starting it again would change nothing."""
    change_inference(config_file, clip="startr")
    with supervising(config_file) as (process, lines):
        assert 2 == process.wait(WAIT_S)

    assert lines[-1].startswith("error: no model 'startr': none that ships (starter,")
    assert {} == services_of(config_file)


def test_an_index_of_another_model_is_told_at_the_start(config_file: Path) -> None:
    """Everything runs, and searching cannot work until prepare has: that is said at once."""
    change_inference(config_file, clip="starter", mclip=None)
    with supervising(config_file) as (_, lines):
        until(lambda: any("ready: " in line for line in lines), "".join(lines))

    (line,) = (line for line in lines if "searching does not work yet" in line)
    assert "run prepare again" in line


def change_inference(config_file: Path, **keys: Any) -> None:
    config = json.loads(config_file.read_bytes())
    config_file.write_text(json.dumps(with_section(config, "Inference", **keys)))


def test_an_address_named_twice_is_refused(tmp_path: Path) -> None:
    """Two entries of the server list cannot share a port."""
    (tmp_path / "data/index").mkdir(parents=True)
    (tmp_path / "data/index/CURRENT").write_text("v000001")
    port, *others = free_ports(4)
    config = {"Search": {"server-list": [f"127.0.0.1:{port}"] * 2}}
    for section, other in zip(("Front", "Middle", "Inference"), others, strict=True):
        config = with_section(config, section, port=other)
    done = run_command("common/supervisor.py", config, cwd=tmp_path)

    assert 2 == done.returncode
    assert "same address" in done.stderr


def test_torchserve_is_started_apart() -> None:
    """With the key file of TorchServe there is no embedded server, nor a claim to its port."""
    config = Config(inference=Inference(key_file="key_file.json"))

    assert "inference" not in commands(config, Path("config.json"))
    assert "Inference.port" not in dict(addresses(config))
