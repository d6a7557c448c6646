"""Counts the code that one query runs in each service: python devtools/trace_query.py [--list].

Each service in turn runs in this process, behind Flask's test client; the others run beside it.
`sys.setprofile` counts calls, functions, files and threads of our code. A coroutine that resumes
counts as another call. A comprehension is part of its function. The table shows the query with the
fewest calls of several, as work that happens once a second does not belong to a query.
"""

import argparse
import json
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import FrameType
from typing import IO, Any, NamedTuple, cast

if __package__ in (None, ""):  # run as a script: the checkout goes on the path, not this folder
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

import numpy as np
from flask import Flask
from werkzeug.test import TestResponse

from common.cache_epoch import CacheEpoch
from common.config import CHECKOUT, Config, parse
from common.wire import MSGPACK, encode, pack_rows
from front.app import create_app as create_front
from inference.app import create_app as create_inference
from inference.messages import EmbedRequest
from middle.app import create_app as create_middle
from search.app import create_app as create_search
from search.index_versions import IndexVersions
from search.manifest import folders_of
from search.messages import SearchRequest

PACKAGES = tuple(
    f"{CHECKOUT / name}/" for name in ("common", "front", "middle", "inference", "search")
)
INSIDE_A_FUNCTION = ("<listcomp>", "<dictcomp>", "<setcomp>", "<genexpr>")
PHOTO = CHECKOUT / "samples/owl.jpg"
QUERIES = 5
WARM_UP = 3
Ask = Callable[[int], TestResponse]
"""Sends one query; the number makes the query unlike all others."""


class Walk(NamedTuple):
    """The code that one query ran: the calls of each function (file and name), and the threads."""

    calls: dict[tuple[str, str], int]
    threads: set[int]

    def __str__(self) -> str:
        """A row of the table."""
        counts = (
            sum(self.calls.values()),
            len(self.calls),
            len({file for file, _ in self.calls}),
            len(self.threads),
        )
        return "".join(f"{number:>11}" for number in counts)


class Tracer:
    """Counts calls of our code in all threads that start after it was made."""

    def __init__(self) -> None:
        self._walk: Walk | None = None
        threading.setprofile(self._profile)
        sys.setprofile(self._profile)

    def walk(self, ask: Ask, number: int) -> Walk:
        """Trace one query; raises RuntimeError unless its status is 200."""
        self._walk = walk = Walk({}, set())
        reply = ask(number)
        self._walk = None
        if reply.status_code != 200:
            raise RuntimeError(f"{reply.status}: {reply.get_data(as_text=True)}")
        return walk

    def _profile(self, frame: FrameType, event: str, _argument: Any) -> None:
        walk, code = self._walk, frame.f_code
        if walk is None or event != "call" or not code.co_filename.startswith(PACKAGES):
            return
        walk.threads.add(threading.get_ident())
        if code.co_name not in INSIDE_A_FUNCTION:
            name = (str(Path(code.co_filename).relative_to(CHECKOUT)), code.co_qualname)
            walk.calls[name] = walk.calls.get(name, 0) + 1


@contextmanager
def services(folder: Path) -> Iterator[Config]:
    """Run all services but front, over the sample photos; yields their configuration."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(4)]
        middle, inference, *search = [listener.getsockname()[1] for listener in sockets]
    folders = {f"{kind}-dir": str(folder / kind) for kind in ("embedding", "index", "path", "hash")}
    text = json.dumps(
        {
            "Middle": {"port": middle},
            "Inference": {"port": inference},
            "Search": {"server-list": [f"127.0.0.1:{port}" for port in search]},
            "Prepare": {**folders, "images": [str(CHECKOUT / "samples")]},
        }
    )
    subprocess.run(_command("prepare/prepare.py"), input=text, text=True, check=True, cwd=CHECKOUT)
    with ExitStack() as stack:
        for script in (
            ["inference/inference.py"],
            ["search/search.py", "--server-index", "0"],
            ["search/search.py", "--server-index", "1"],
            ["middle/middle.py"],
        ):
            stack.enter_context(_running(script, text))
        yield parse(text.encode())


def _command(script: str, *options: str) -> list[str]:
    return [sys.executable, str(CHECKOUT / script), *options, "--config", "-"]


@contextmanager
def _running(script: list[str], config: str) -> Iterator[None]:
    """Run a service; the block starts when the service listens."""
    process = subprocess.Popen(
        _command(*script), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=CHECKOUT
    )
    try:
        stdin, stdout = cast("IO[str]", process.stdin), cast("IO[str]", process.stdout)
        stdin.write(config)
        stdin.close()
        while not stdout.readline().startswith("listening"):
            if process.poll() is not None:
                raise RuntimeError(f"{script[0]} ended with {process.returncode}")
        yield
    finally:
        process.terminate()
        process.wait()


def queries(config: Config) -> Iterator[tuple[str, Flask, Ask]]:
    """Each kind of query: its name, the app of its service, and a function that sends it."""
    photo = PHOTO.read_bytes()
    middle = create_middle(config, CHECKOUT, CacheEpoch())
    client = middle.test_client()
    fresh = {"Cache-Control": "no-cache"}
    upload = {"Content-Type": MSGPACK}
    yield "middle: text", middle, lambda n: client.post("/search", json={"text": f"a cat {n}"})
    yield (
        "middle: image",
        middle,
        lambda n: client.post(
            "/search", data=encode({"image": photo, "k": 10 + n}), headers={**upload, **fresh}
        ),
    )
    yield "middle: text, cached", middle, lambda _n: client.post("/search", json={"text": "a dog"})
    front = create_front(config, CHECKOUT, CacheEpoch())
    client = front.test_client()
    yield "front: text", front, lambda n: client.get(f"/v1/search?text=an+owl+{n}")
    yield (
        "front: upload",
        front,
        lambda _n: client.post("/v1/search", data={"image": PHOTO.open("rb")}),
    )
    inference = create_inference(config, CHECKOUT)
    client = inference.test_client()
    yield (
        "inference: text",
        inference,
        lambda n: client.post("/predictions/clip", data=encode(EmbedRequest([f"a hat {n}"]))),
    )
    yield ("search", *_search(config))


def _search(config: Config) -> tuple[Flask, Ask]:
    prepare = config.prepare
    folders = folders_of(CHECKOUT, prepare.index_dir, prepare.path_dir, prepare.hash_dir)
    versions = IndexVersions(folders, lambda _count: [0], 60.0)
    versions.start()
    app = create_search(versions, config.search.ef_search, 1)
    app.extensions["closing"].callback(versions.close)
    dim = versions.newest().manifest.dim
    vector = np.full((1, dim), dim**-0.5, np.float32)
    message = encode(SearchRequest(dim, pack_rows(vector), [10]))
    return app, lambda _n: app.test_client().post("/search", data=message)


def main() -> None:
    """Print the table, and with --list the functions of each query."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--list", action="store_true", help="name the functions, file by file")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, services(Path(folder)) as config:
        tracer = Tracer()
        apps = set()
        print(f"{'':24}      calls  functions      files    threads")
        for name, app, ask in queries(config):
            walks = [tracer.walk(ask, number) for number in range(WARM_UP + QUERIES)][WARM_UP:]
            walk = min(walks, key=lambda candidate: sum(candidate.calls.values()))
            print(f"{name:24}{walk}", flush=True)
            if arguments.list:
                for (file, function), calls in sorted(walk.calls.items()):
                    print(f"    {file:36} {function} {calls}")
            apps.add(app)
        for app in apps:
            app.extensions["closing"].close()


if __name__ == "__main__":
    main()
