"""Latency while others are slow: python benchmarks/slow_clients.py, with nginx installed.

Queries come at a fixed rate (open loop) to front through the edge, and to front without it; in
turn quietly and beside clients that send heads or bodies, or read replies, byte by byte. The
model is tiny: what is measured is who waits for whom.
"""

import socket
import sys
import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path

if __package__ in (None, ""):  # run as a script: the checkout goes on the path, not this folder
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

import numpy as np

from devtools import open_loop
from benchmarks.figures import Figure, table
from common.process import argument_parser, run
from devtools.collection import Collection
from devtools.nginx import MANY, edge
from devtools.services import cluster

SECTION = "slow clients"
EDGE = "through the edge"
ROUNDS = 5
DRIP_S = 0.5
SETTLE_S = 2.0
"""They come all at once, and those that read ask for 90 MB together: that is load, not slowness."""
LARGE = "/docs/swagger/js/swagger-ui-bundle.js"
"""1.4 MB: more than the buffers of a connection hold."""
HEAD = b"POST /v1/search HTTP/1.1\r\nHost: slow\r\nX-Slow: "
BODY = (
    b"POST /v1/search HTTP/1.1\r\nHost: slow\r\nContent-Type: application/json\r\n"
    b"Content-Length: 100000\r\n\r\n"
)
READING = f"GET {LARGE} HTTP/1.1\r\nHost: slow\r\n\r\n".encode()
KINDS = (HEAD, BODY, READING)
RECEIVE_BYTES = 2048
SOURCES = [f"127.0.1.{number}" for number in range(1, 21)]
"""They come from many addresses, as no edge lets one address have so many."""


@contextmanager
def slow_clients(port: int, clients: int) -> Iterator[None]:
    """Have so many clients of all kinds, on loopback, until the block ends.

    One that is cut off comes back.
    """
    connections = [_connect(port, number) for number in range(clients)]
    ended = threading.Event()

    def drip() -> None:
        while not ended.wait(DRIP_S):
            for number, connection in enumerate(connections):
                if not _go_on(connection, KINDS[number % len(KINDS)]):
                    connection.close()
                    with suppress(OSError):  # it does not take any now
                        connections[number] = _connect(port, number)

    thread = threading.Thread(target=drip, name="slow clients")
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
        for connection in connections:
            connection.close()


def _connect(port: int, number: int) -> socket.socket:
    """A client that has sent all but the end of a head or of a body, or all of a request."""
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BYTES)
    connection.bind((SOURCES[number % len(SOURCES)], 0))
    connection.settimeout(10)
    connection.connect(("127.0.0.1", port))
    connection.sendall(KINDS[number % len(KINDS)])
    connection.setblocking(False)
    return connection


def _go_on(connection: socket.socket, kind: bytes) -> bool:
    """Send or read a byte; False once the server has hung up."""
    try:
        if kind != READING:
            connection.send(b" ")
        return connection.recv(1) != b""
    except BlockingIOError:
        return True
    except OSError:
        return False


def measure(port: int, rate: float, seconds: float, clients: int) -> list[open_loop.Reply]:
    """The replies to queries that never repeat, beside so many slow clients."""
    texts = (f"a photo of square {number}" for number in count())
    drawn = open_loop.draw(rate, seconds, texts, seed=clients)
    due = [one._replace(at_s=SETTLE_S + one.at_s) for one in drawn]
    with slow_clients(port, clients):
        return open_loop.send(f"127.0.0.1:{port}", due, 10, len(due), "/v1/search")


def figures(name: str, replies: Sequence[open_loop.Reply]) -> list[Figure]:
    """Latency and errors of some replies."""
    p50, p99 = np.percentile([one.latency_ms for one in replies], (50, 99)).tolist()
    failed = sum(not one.ok for one in replies)
    return [
        Figure(SECTION, f"{name}: p50", p50, "ms"),
        Figure(SECTION, f"{name}: p99", p99, "ms"),
        Figure(SECTION, f"{name}: errors", failed, "queries", note=f"of {len(replies)}"),
    ]


def main() -> None:
    """Start all services and the edge, measure and print the table."""
    parser = argument_parser(__doc__)
    parser.add_argument("--rate", type=float, default=100, metavar="N", help="queries a second")
    parser.add_argument("--seconds", type=float, default=20, metavar="S", help="of each run")
    parser.add_argument("--clients", type=int, default=200, metavar="N")
    how = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="clip-search-bench-") as folder:
        collection = Collection(Path(folder), 100, 2)
        search = [["--index", "0,1"]]
        with (
            cluster(collection.config, 1, collection.folder, search) as services,
            edge(services.front.port, collection.folder, MANY) as port,
        ):
            # Last, as front alone does not recover at once.
            turns = [(EDGE, port)] * ROUNDS + [("front alone", services.front.port)]
            found: dict[str, list[open_loop.Reply]] = {}
            for name, at in turns:
                for clients in (0, how.clients):
                    replies = measure(at, how.rate, how.seconds, clients)
                    found.setdefault(f"{name}, {clients} slow clients", []).extend(replies)
    print(table([figure for name, replies in found.items() for figure in figures(name, replies)]))


if __name__ == "__main__":
    run(main)
