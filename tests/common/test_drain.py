"""The gentle end: what was let in is answered, whatever moment the end comes at."""

import http.client
import os
import signal
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from common.server.drain import turn_away
from devtools.collection import Collection
from devtools.services import STOP_S, Cluster, Service, children, cluster, running, with_section
from tests.servers import SERVERS, under

ROUNDS = {"auto": 5, "granian": 3}
CLIENTS = 4
BEFORE = 20
"""Answers to each client before the end comes."""
FOREVER_S = 600
NOTICE_S = 0.5
"""What a balancer needs to notice that a server drains."""
PATHS = {"front": "/v1/info", "middle": "/info", "search": "/info"}
SCRIPTS = {name: f"{name}/{name}.py" for name in PATHS}


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

    def __init__(self, port: int, path: str, *, is_kept: bool, leaves: bool) -> None:
        super().__init__()
        self.answers = 0
        self.lost = ""
        """How an answer was lost, if one was."""
        self.is_warm = threading.Event()
        self._port, self._path, self._is_kept = port, path, is_kept
        self._leaves = leaves
        """Whether it goes to another server, as balancers do, once told that this one drains."""
        self._is_told = False

    def run(self) -> None:
        """Count answers."""
        while not self.lost and not (self._is_told and self._leaves):
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
            self._is_told = reply.getheader("X-Draining") == "1"
            if reply.will_close or self._is_told:
                return


def configured(services: Cluster, name: str, server: str, drain_wait_s: float) -> dict[str, Any]:
    """The configuration of one more service of a cluster, on any port, under a server."""
    config = with_section(services.config, "Process", drain_wait_s=drain_wait_s)
    if name == "search":
        config = with_section(config, "Search", server_list=["127.0.0.1:0"])
    else:
        config = with_section(config, name.capitalize(), port=0, workers=2)
    return under(server, config)


def end_under_load(service: Service, path: str, *, leaves: bool) -> None:
    """Stop a service that is busy; every client must have lost nothing."""
    how = [{"is_kept": bool(n % 2), "leaves": leaves} for n in range(CLIENTS)]
    clients = [Client(service.port, path, **one) for one in how]
    for client in clients:
        client.start()
    for client in clients:
        assert client.is_warm.wait(STOP_S)
    service.process.send_signal(signal.SIGTERM)
    assert 0 == service.process.wait(STOP_S)
    for client in clients:
        client.join()
    assert [""] * CLIENTS == [client.lost for client in clients]


@pytest.mark.parametrize("server", SERVERS)
@pytest.mark.parametrize("name", PATHS)
def test_no_request_is_lost_at_the_end(
    services: Cluster, collection: Collection, name: str, server: str
) -> None:
    """Of clients on kept connections and on new ones, whenever SIGTERM comes.

    granian cannot turn new connections away: there clients must go elsewhere while it drains.
    """
    is_alone = server == "auto"
    config = configured(services, name, server, 0 if is_alone else NOTICE_S)
    for _ in range(ROUNDS[server]):
        with running(SCRIPTS[name], config, cwd=collection.folder) as service:
            end_under_load(service, PATHS[name], leaves=not is_alone)


def test_connections_that_nobody_has_taken_yet_are_answered(
    services: Cluster, collection: Collection
) -> None:
    """The kernel has made several when the server is told to stop, whose worker stands still."""
    config = with_section(services.config, "Middle", port=0)
    request = b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    with running("middle/middle.py", config, cwd=collection.folder) as service:
        (worker,) = children(service.process.pid)
        os.kill(worker, signal.SIGSTOP)
        waiting = [
            socket.create_connection(("127.0.0.1", service.port), STOP_S) for _ in range(CLIENTS)
        ]
        for connection in waiting:
            connection.sendall(request)
        service.process.send_signal(signal.SIGTERM)
        assert_ignored(service.port)
        os.kill(worker, signal.SIGCONT)
        for connection in waiting:
            with connection:
                assert b"HTTP/1.1 200" == connection.recv(12)


def assert_ignored(port: int) -> None:
    """Soon a new connection is not made: the kernel answers nothing."""
    deadline = time.monotonic() + STOP_S
    while time.monotonic() < deadline:
        try:
            socket.create_connection(("127.0.0.1", port), 0.1).close()
        except TimeoutError:
            return
    raise AssertionError("connections are still made")


@pytest.mark.parametrize("server", SERVERS)
@pytest.mark.parametrize("name", PATHS)
def test_a_server_that_was_told_to_stop_serves_on_until_that_is_known(
    services: Cluster, collection: Collection, name: str, server: str
) -> None:
    """It says to be draining, answers on new connections, and a second SIGTERM ends it at once."""
    config = configured(services, name, server, FOREVER_S)
    with running(SCRIPTS[name], config, cwd=collection.folder) as service:
        service.ended = True
        service.process.send_signal(signal.SIGTERM)
        while (reply := service.request("GET", "/ready")).status == 200:
            pass
        assert (503, "draining") == (reply.status, reply.json()["code"])
        assert "1" == reply.headers["X-Draining"]
        told = answer(service, PATHS[name]), answer(service, "/metrics").decode()
        assert "1.0" in next(x for x in told[1].splitlines() if "search_draining{" in x)
        service.process.send_signal(signal.SIGTERM)
        service.process.wait(STOP_S)


def answer(service: Service, path: str) -> bytes:
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
