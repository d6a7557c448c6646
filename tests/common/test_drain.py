"""The gentle end: what was let in is answered, whatever moment the end comes at."""

import http.client
import os
import signal
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from common.server.drain import turn_away
from tests.collection import Collection
from tests.services import STOP_S, Cluster, Service, cluster, running, with_section

ROUNDS = 5
CLIENTS = 4
BEFORE = 20
"""Answers to each client before the end comes."""
FOREVER_S = 600


@pytest.fixture(scope="module")
def collection(tmp_path_factory: pytest.TempPathFactory) -> Collection:
    """A few images in one shard."""
    return Collection(tmp_path_factory.mktemp("drain"), images=12, shards=1)


@pytest.fixture(scope="module")
def services(collection: Collection) -> Iterator[Cluster]:
    """All services, which no test stops."""
    with cluster(collection.config, 1, collection.folder) as running:
        yield running


class Client(threading.Thread):
    """Asks again and again, until it is let in no more."""

    def __init__(self, port: int, path: str, *, is_kept: bool) -> None:
        super().__init__()
        self.answers = 0
        self.lost = ""
        """How an answer was lost, if one was."""
        self.is_warm = threading.Event()
        self._port, self._path, self._is_kept = port, path, is_kept

    def run(self) -> None:
        """Count answers."""
        while not self.lost:
            connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=STOP_S)
            try:
                connection.connect()
            except OSError:
                return
            try:
                self._use(connection)
            except (OSError, http.client.HTTPException) as error:
                self.lost = repr(error)
            finally:
                connection.close()

    def _use(self, connection: http.client.HTTPConnection) -> None:
        """Ask on a connection, until one of the two sides does not keep it."""
        while True:
            headers = {} if self._is_kept else {"Connection": "close"}
            connection.request("GET", self._path, headers=headers)
            reply = connection.getresponse()
            reply.read()
            assert reply.status == 200
            self.answers += 1
            if self.answers == BEFORE:
                self.is_warm.set()
            if reply.will_close:
                return


def end_under_load(service: Service, path: str) -> None:
    """Stop a service that is busy; every client must have lost nothing."""
    clients = [Client(service.port, path, is_kept=bool(n % 2)) for n in range(CLIENTS)]
    for client in clients:
        client.start()
    for client in clients:
        assert client.is_warm.wait(STOP_S)
    service.process.send_signal(signal.SIGTERM)
    assert 0 == service.process.wait(STOP_S)
    for client in clients:
        client.join()
    assert [""] * CLIENTS == [client.lost for client in clients]


@pytest.mark.parametrize(
    ("script", "path"), [("front/front.py", "/v1/info"), ("middle/middle.py", "/info")]
)
def test_no_request_is_lost_at_the_end(
    services: Cluster, collection: Collection, script: str, path: str
) -> None:
    """Of clients on kept connections and on new ones, whenever SIGTERM comes."""
    section = script.split("/")[0].capitalize()
    config = with_section(services.config, section, port=0, workers=2)
    for _ in range(ROUNDS):
        with running(script, config, cwd=collection.folder) as service:
            end_under_load(service, path)


def test_no_request_to_a_search_server_is_lost_at_the_end(
    services: Cluster, collection: Collection
) -> None:
    """The same for a server that is one process with threads."""
    config = with_section(services.config, "Search", server_list=["127.0.0.1:0"])
    for _ in range(ROUNDS):
        with running("search/search.py", config, cwd=collection.folder) as service:
            end_under_load(service, "/info")


def test_connections_that_nobody_has_taken_yet_are_answered(
    services: Cluster, collection: Collection
) -> None:
    """Several that the kernel had made when the worker learnt that it is to stop."""
    config = with_section(services.config, "Middle", port=0)
    request = b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    with running("middle/middle.py", config, cwd=collection.folder) as service:
        pid = service.process.pid
        worker = int(Path(f"/proc/{pid}/task/{pid}/children").read_text())
        os.kill(worker, signal.SIGSTOP)
        waiting = [
            socket.create_connection(("127.0.0.1", service.port), STOP_S) for _ in range(CLIENTS)
        ]
        for connection in waiting:
            connection.sendall(request)
        service.process.send_signal(signal.SIGTERM)
        while not _pending(worker) & 1 << signal.SIGTERM - 1:
            time.sleep(0.01)
        os.kill(worker, signal.SIGCONT)
        for connection in waiting:
            with connection:
                assert b"HTTP/1.1 200" == connection.recv(12)


def _pending(process: int) -> int:
    """The signals that a process has not been given yet, a bit each."""
    status = Path(f"/proc/{process}/status").read_text()
    (line,) = (line for line in status.splitlines() if line.startswith("ShdPnd"))
    return int(line.split()[1], 16)


@pytest.mark.parametrize("script", ["front/front.py", "middle/middle.py", "search/search.py"])
def test_a_server_that_was_told_to_stop_serves_on_until_that_is_known(
    services: Cluster, collection: Collection, script: str
) -> None:
    """It says to be draining, answers on new connections, and at a second SIGTERM ends at once."""
    config = with_section(services.config, "Process", drain_wait_s=FOREVER_S)
    config = with_section(config, script.split("/")[0].capitalize(), port=0)
    path = "/v1/info" if "front" in script else "/info"
    if "search" in script:
        config = with_section(services.config, "Search", server_list=["127.0.0.1:0"])
        config = with_section(config, "Process", drain_wait_s=FOREVER_S)
    with running(script, config, cwd=collection.folder) as service:
        service.ended = True
        service.process.send_signal(signal.SIGTERM)
        while (reply := service.request("GET", "/ready")).status == 200:
            pass
        assert (503, "draining") == (reply.status, reply.json()["code"])
        told = _answer(service, path), _answer(service, "/metrics").decode()
        assert 'clip_search_draining{service="' in told[1]
        assert "1.0" in next(x for x in told[1].splitlines() if "search_draining{" in x)
        service.process.send_signal(signal.SIGTERM)
        service.process.wait(STOP_S)


def _answer(service: Service, path: str) -> bytes:
    """What is answered, with 200, on a connection of its own."""
    connection = http.client.HTTPConnection("127.0.0.1", service.port, timeout=STOP_S)
    connection.request("GET", path, headers={"Connection": "close"})
    reply = connection.getresponse()
    body = reply.read()
    connection.close()
    assert 200 == reply.status
    return body


def test_who_is_turned_away_finds_the_next_server() -> None:
    """What was connected before is accepted; who comes after waits for another to listen."""
    with socket.create_server(("127.0.0.1", 0)) as first:
        address: Any = first.getsockname()
        before = socket.create_connection(address, timeout=STOP_S)
        turn_away(first)
        late = socket.socket()
        late.settimeout(STOP_S)
        comes = threading.Thread(target=late.connect, args=(address,))
        comes.start()
        accepted, _ = first.accept()
        before.sendall(b"a")
        assert b"a" == accepted.recv(1)
        first.settimeout(0.3)
        with pytest.raises(TimeoutError):
            first.accept()
    with socket.create_server(address) as second:
        comes.join()
        other, _ = second.accept()
    for one in (before, accepted, late, other):
        one.close()
