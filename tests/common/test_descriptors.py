"""A server whose descriptors are few (row 27): it refuses connections, and loses none it has."""

import socket
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from devtools.services import CHECKOUT, Service, children, running, wait_until, with_section
from tests.servers import SERVERS, under

LIMIT = 1024
CLIENTS = 1100
"""More than the limit."""
FIRST = 100
LIMITED = f"""
import os, resource, sys
resource.setrlimit(resource.RLIMIT_NOFILE, ({{limit}}, {{limit}}))
os.execv(sys.executable, [sys.executable, "{CHECKOUT}/{{script}}", *sys.argv[1:]])
"""
ALIVE = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"


def limited(folder: Path, script: str, limit: int) -> str:
    """A script in `folder` that runs a script of ours with a descriptor limit."""
    (folder / "limited.py").write_text(LIMITED.format(script=script, limit=limit))
    return "limited.py"


def connect(service: Service, stack: ExitStack, data: bytes) -> list[socket.socket]:
    """CLIENTS connections on which the same was sent."""
    clients = []
    for _ in range(CLIENTS):
        client = socket.create_connection(("127.0.0.1", service.port), timeout=20)
        stack.enter_context(client)
        client.sendall(data)
        clients.append(client)
    return clients


def have_settled(processes: list[int]) -> bool:
    """Whether processes open no more descriptors: the rest waits in the kernel."""
    folders = [Path(f"/proc/{process}/fd") for process in processes]
    before = [len(list(folder.iterdir())) for folder in folders]
    time.sleep(0.5)
    return before == [len(list(folder.iterdir())) for folder in folders]


@pytest.mark.parametrize("server", SERVERS)
@pytest.mark.parametrize("script", ["front/front.py", "middle/middle.py", "search/search.py"])
def test_idle_connections_over_the_limit_wait(script: str, server: str, tmp_path: Path) -> None:
    """Kind J: no worker dies, who is connected is answered, and then who comes."""
    config: dict[str, Any] = with_section({}, "Middle", port=0)
    config = with_section(config, "Front", port=0)
    config = under(server, with_section(config, "Search", server_list=["127.0.0.1:0"]))
    program = limited(tmp_path, script, LIMIT)
    with running(program, config, cwd=tmp_path, checkout=tmp_path) as service, ExitStack() as stack:
        workers = children(service.process.pid)
        clients = connect(service, stack, ALIVE[:10])
        wait_until(lambda: have_settled([service.process.pid, *workers]))
        for client in clients[:FIRST]:
            client.sendall(ALIVE[10:])
            assert b" 200 " in client.recv(65536)
        for client in clients:
            client.close()
        assert {"status": "alive"} == service.get("/healthz")
        assert workers == children(service.process.pid)
    output = "".join(service.output)
    assert "Traceback" not in output
    assert "Too many open files" not in output


def test_many_idle_connections_do_not_end_waitress(tmp_path: Path) -> None:
    """Kind J: descriptors over 1023, which select() cannot hold."""
    config = with_section({}, "Search", server_list=["127.0.0.1:0"])
    program = limited(tmp_path, "search/search.py", 8192)
    with running(program, config, cwd=tmp_path, checkout=tmp_path) as service, ExitStack() as stack:
        for client in connect(service, stack, ALIVE):
            assert b" 200 " in client.recv(65536)
        assert {"status": "alive"} == service.get("/healthz")
