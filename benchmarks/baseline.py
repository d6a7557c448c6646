"""The baseline: inference, search and middle as written around 2022, with Flask and requests.

The baseline embeds each query alone and sends each shard a request of its own, as JSON. Our own
code loads the model, so the weights are the same. Role `hello` is a bare Flask app under the server
of our middle.
"""

import json
import signal
import sys
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

if __package__ in (None, ""):  # run as a script: the checkout goes on the path, not this folder
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

import hnswlib
import numpy as np
import requests
import waitress
from flask import Flask, jsonify, request
from flask.typing import ResponseReturnValue
from requests.adapters import HTTPAdapter

from common.config import Inference
from common.errors import ConfigError
from common.process import run
from common.server.serve import Serving, announce, serve_workers
from common.wire import Matrix
from devtools.services import Service, running
from inference.clip.encoders import TokenTextTower
from inference.clip.model import load_model
from inference.clip.model_files import read_layout

M, EF_CONSTRUCTION, EF_SEARCH = 16, 200, 64
WORKERS = 4  # of middle; gunicorn recommends 2 to 4 for each core
MIDDLE_THREADS = 128
SHARD_THREADS = 64  # concurrent requests to shards from a worker of middle
Settings = dict[str, Any]


@contextmanager
def running_baseline(
    model: Path, vectors: Matrix, servers: int, folder: Path
) -> Iterator[tuple[Service, Mapping[str, Sequence[int]]]]:
    """Build the shards in `folder` and start all servers; yields middle and all process ids."""
    folder.mkdir(parents=True)
    with ExitStack() as stack:

        def start(role: str, **settings: object) -> Service:
            config = {"role": role, **settings}
            return stack.enter_context(running("benchmarks/baseline.py", config))

        inference = start("inference", model=str(model))
        shards = [
            start("search", index=str(path), paths=f"{path}.json", dim=vectors.shape[1])
            for path in _build(vectors, servers, folder)
        ]
        middle = start(
            "middle",
            threads=MIDDLE_THREADS,
            workers=WORKERS,
            inference=f"http://{inference.address}/predictions/clip",
            shards=[f"http://{shard.address}/search" for shard in shards],
        )
        parts = {"middle": [middle], "inference": [inference], "search": shards}
        yield middle, {name: [each.process.pid for each in part] for name, part in parts.items()}


def _build(vectors: Matrix, servers: int, folder: Path) -> Iterator[Path]:
    """Write an index and a list of paths for each search server."""
    for number, rows in enumerate(np.array_split(np.arange(len(vectors)), servers)):
        index = hnswlib.Index(space="ip", dim=vectors.shape[1])
        index.init_index(len(rows), M=M, ef_construction=EF_CONSTRUCTION)
        index.add_items(vectors[rows], np.arange(len(rows)))
        path = folder / f"shard-{number}"
        index.save_index(str(path))
        names = [f"images/{row:08}.jpg" for row in rows]  # as in vectors.save_vectors
        path.with_name(f"{path.name}.json").write_text(json.dumps(names))
        yield path


def create_inference(settings: Settings) -> Flask:
    """POST /predictions/clip {"text"}: its vector, as a list; one text at a time."""
    app, folder, length = Flask("inference"), settings["model"], 0
    try:  # torch eager, padded as open_clip pads
        model = load_model(folder, Inference(runtime="torch"), image=False)
        length = read_layout(Path(folder)).config.text_cfg.context_length
    except ConfigError:  # there is no torch, or no weights for it
        model = load_model(folder, Inference(runtime="onnxruntime"), image=False)
    tower = model.text
    if not isinstance(tower, TokenTextTower):
        raise ConfigError(f"{folder} has no text tower with a tokenizer")

    @app.post("/predictions/clip")
    def predict() -> ResponseReturnValue:
        ids = tower.prepare(request.get_json()["text"]).value
        ids = ids + [tower.pad_id] * (length - len(ids))
        return jsonify(tower.embed([ids])[0].tolist())

    return app


def create_search(settings: Settings) -> Flask:
    """POST /search {"vector", "k"}: the hits in one shard."""
    app = Flask("search")
    paths = json.loads(Path(settings["paths"]).read_text())
    index = hnswlib.Index(space="ip", dim=settings["dim"])
    index.load_index(settings["index"])
    index.set_ef(EF_SEARCH)

    @app.post("/search")
    def search() -> ResponseReturnValue:
        asked = request.get_json()
        vector = np.array(asked["vector"], dtype=np.float32)
        (labels,), (distances,) = index.knn_query(vector, k=min(asked["k"], len(paths)))
        pairs = zip(labels, distances, strict=True)
        return jsonify([{"path": paths[label], "score": 1 - float(far)} for label, far in pairs])

    return app


def create_middle(settings: Settings) -> Flask:
    """POST /search {"text", "k"}: {"hits"}, the best of all shards, best first."""
    app = Flask("middle")
    pool = ThreadPoolExecutor(SHARD_THREADS)
    app.extensions["closing"] = ExitStack()  # closed by our gunicorn settings at the end
    app.extensions["closing"].callback(pool.shutdown)
    session = requests.Session()
    session.trust_env = False  # no proxies
    session.mount("http://", HTTPAdapter(len(settings["shards"]) + 1, MIDDLE_THREADS))

    def post(url: str, message: Any) -> Any:
        response = session.post(url, json=message, timeout=30)
        response.raise_for_status()
        return response.json()

    @app.post("/search")
    def search() -> ResponseReturnValue:
        asked = request.get_json()
        k = asked.get("k", 10)
        query = {"vector": post(settings["inference"], {"text": asked["text"]}), "k": k}
        parts = pool.map(lambda url: post(url, query), settings["shards"])
        hits = [hit for part in parts for hit in part]
        hits.sort(key=lambda hit: hit["score"], reverse=True)
        return jsonify(hits=hits[:k])

    return app


def create_hello(_settings: Settings) -> Flask:
    """POST /search answers hello."""
    app = Flask("hello")
    app.add_url_rule("/search", view_func=lambda: "hello", methods=["POST"])
    return app


def main() -> None:
    """Serve the role that the JSON on standard input names."""
    settings = json.load(sys.stdin)
    role = settings["role"]
    if role in ("middle", "hello"):
        serving = Serving("127.0.0.1", 0, settings["threads"], 2**20, settings["workers"])
        serve_workers(f"benchmarks.baseline:create_{role}", (settings,), serving)
        return
    app = create_inference(settings) if role == "inference" else create_search(settings)
    connections = 2 * WORKERS * MIDDLE_THREADS  # more would wait under the default, 100
    server = waitress.create_server(
        app, listen="127.0.0.1:0", connection_limit=connections, threads=8
    )
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())  # waitress drains
    announce(server.effective_port)
    server.run()


if __name__ == "__main__":
    run(main)
