"""The life of a server process."""

import os
import signal
import socket
import threading
import time
from contextlib import ExitStack
from pathlib import Path

import pytest
import urllib3

from common.lifeline import ORPHAN_S
from devtools.collection import Collection
from devtools.ports import is_free
from devtools.processes import stop
from devtools.services import (
    PYTHON,
    Service,
    children,
    cluster,
    free_ports,
    run_command,
    running,
    wait_until,
    with_section,
)
from tests.servers import SERVERS, under

PORT_S = ORPHAN_S + 4
"""The port of a server that was killed is free by then, on busy cores, too."""
SCRIPTS = ["front/front.py", "middle/middle.py", "search/search.py"]
ON_ANY_PORT = {
    "Front": {"port": 0},
    "Middle": {"port": 0},
    "Search": {"server-list": ["127.0.0.1:0"]},
}


@pytest.fixture(scope="module")
def collection(tmp_path_factory: pytest.TempPathFactory) -> Collection:
    """A few images in one shard."""
    return Collection(tmp_path_factory.mktemp("collection"), images=12, shards=1)


@pytest.mark.parametrize("server", SERVERS)
def test_two_workers_answer_without_crossing_and_add_up_their_metrics(
    collection: Collection, server: str
) -> None:
    """Interleaved queries to two workers each get their own answer; /metrics counts them all."""
    config = with_section(collection.config, "Middle", workers=2)
    config = under(server, with_section(config, "Front", workers=2))
    names = collection.paths()
    wrong: list[str] = []
    with cluster(config, 1, collection.folder) as services:

        def ask(name: str) -> None:
            data = (collection.folder / name).read_bytes()
            for _ in range(20):
                reply = services.front.request("POST", "/v1/search", fields={"image": ("q", data)})
                if reply.json()["hits"][0]["path"] != name:
                    wrong.append(name)

        threads = [threading.Thread(target=ask, args=(name,)) for name in names]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        metrics = services.front.request("GET", "/metrics").data.decode()

    assert [] == wrong
    line = 'requests_total{route="/v1/search",service="front",status="200"} '
    (counted,) = [x.split()[-1] for x in metrics.splitlines() if line in x]
    assert 20 * len(names) == float(counted)


def test_a_server_in_the_background_of_a_script_ends_on_sigterm(tmp_path: Path) -> None:
    """Started with SIGINT ignored, as the shell does for `&`, it still ends."""
    config = with_section({}, "Search", server_list=["127.0.0.1:0"])
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)  # the child inherits it
    try:
        with running("search/search.py", config, cwd=tmp_path, python=PYTHON) as service:
            assert 0 == stop(service.process)
    finally:
        signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize("server", SERVERS)
@pytest.mark.parametrize("script", SCRIPTS)
def test_a_server_ends_well_on_sigterm_and_on_sigint(
    script: str, server: str, tmp_path: Path
) -> None:
    """Exit status 0 for a SIGTERM; a SIGINT ends it too."""
    config = under(server, ON_ANY_PORT)
    with running(script, config, cwd=tmp_path) as service:
        assert 0 == stop(service.process)
    with running(script, config, cwd=tmp_path) as service:
        service.ended = True
        service.process.send_signal(signal.SIGINT)
        service.process.wait(20)


@pytest.mark.parametrize("server", SERVERS)
def test_a_taken_port_ends_the_start_in_one_line(server: str, tmp_path: Path) -> None:
    """Whoever listens there, and also when it is one of us."""
    (port,) = free_ports(1)
    config = under(server, with_section({}, "Middle", port=port))
    with running("middle/middle.py", config, cwd=tmp_path, python=PYTHON):
        done = run_command("middle/middle.py", config, cwd=tmp_path)

    assert 2 == done.returncode
    told = f"error: cannot listen on 127.0.0.1:{port}: Address already in use. Process "
    assert done.stderr.startswith(told)
    assert "middle/middle.py" in done.stderr
    assert 1 == done.stderr.count("\n")


@pytest.mark.parametrize("server", SERVERS)
def test_a_port_can_be_used_again_at_once(server: str, tmp_path: Path) -> None:
    """Also while the kernel remembers connections that the server before has closed."""
    config = with_section({}, "Search", server_list=[f"127.0.0.1:{free_ports(1)[0]}"])
    with running("search/search.py", config, cwd=tmp_path) as service:
        assert 200 == service.request("GET", "/healthz").status
    with running("search/search.py", under(server, config), cwd=tmp_path) as service:
        assert 200 == service.request("GET", "/healthz").status


@pytest.mark.parametrize("server", SERVERS)
def test_a_worker_that_dies_is_replaced(server: str, tmp_path: Path) -> None:
    """Its parent makes another, and the port answers again."""
    config = under(server, with_section({}, "Middle", port=0))
    with running("middle/middle.py", config, cwd=tmp_path) as middle:
        pid = middle.process.pid
        (worker,) = children(pid)
        os.kill(worker, signal.SIGKILL)
        wait_until(lambda: children(pid) not in ([], [worker]))
        wait_until(lambda: is_alive(middle))


@pytest.mark.parametrize("server", SERVERS)
def test_workers_end_with_a_parent_that_is_killed(server: str, tmp_path: Path) -> None:
    """Kind J: they do not keep the port, also while a client still sends its request."""
    config = under(server, with_section({}, "Middle", port=free_ports(1)[0], workers=2))
    with ExitStack() as stack:
        middle = stack.enter_context(running("middle/middle.py", config, cwd=tmp_path))
        slow = socket.create_connection(("127.0.0.1", middle.port))
        stack.enter_context(slow)
        slow.sendall(b"POST /search HTTP/1.1\r\n")
        assert is_alive(middle)
        middle.kill()
        killed = time.monotonic()
        wait_until(lambda: not is_alive(middle))
        wait_until(lambda: is_free(middle.port))
        assert time.monotonic() - killed < PORT_S
        with running("middle/middle.py", config, cwd=tmp_path) as next_one:
            assert is_alive(next_one)


def is_alive(service: Service) -> bool:
    try:
        return service.request("GET", "/healthz").status == 200
    except urllib3.exceptions.HTTPError:
        return False


def test_without_its_package_granian_cannot_be_asked_for(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The start says in one line how to get it."""
    (tmp_path / "granian.py").write_text("raise ModuleNotFoundError(name='granian')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    done = run_command("front/front.py", under("granian", ON_ANY_PORT), cwd=tmp_path)

    assert 2 == done.returncode
    needed = "pip install -r requirements-granian.txt"
    assert f"error: Process.server granian needs: {needed}\n" == done.stderr


def test_the_number_of_threads_is_a_thing_of_the_past(tmp_path: Path) -> None:
    """A configuration that has it still works, and is told that nothing comes of it."""
    with running("middle/middle.py", with_section(ON_ANY_PORT, "Middle", threads=8)) as middle:
        assert {"status": "alive"} == middle.get("/healthz")
    assert any("Middle.threads has no effect" in line for line in middle.output)
