"""The baseline's three servers, as projects wrote them around 2022: Flask, requests and hnswlib.

A query is embedded by itself, and goes to each shard in a request of its own, as JSON. What is
not of their time is the code that loads a model: so the weights are the same.
"""

import json
import signal
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

if __package__ in (None, ""):  # run as a script: the checkout goes on the path, not this folder
    sys.path[0] = str(Path(__file__).resolve().parent.parent.parent)

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
from inference.clip.model_files import read_layout
from inference.clip.model import Model, load_model
from inference.clip.encoders import TokenTextTower

EF_SEARCH = 64
MIDDLE_THREADS = 128
SHARD_THREADS = 64
"""Requests to shards under way in one worker of middle."""
Settings = dict[str, Any]


def create_inference(settings: Settings) -> Flask:
    """POST /predictions/clip {"text"}: its vector, as a list; one text at a time."""
    app = Flask("inference")
    folder = Path(settings["model"])
    model, length = load_text(folder)
    tower = model.text
    if not isinstance(tower, TokenTextTower):
        raise ConfigError(f"{folder} has no text tower with a tokenizer")

    @app.post("/predictions/clip")
    def predict() -> ResponseReturnValue:
        ids = tower.prepare(request.get_json()["text"]).value
        ids = ids + [tower.pad_id] * (length - len(ids))
        return jsonify(tower.embed([ids])[0].tolist())

    return app


def load_text(folder: Path) -> tuple[Model, int]:
    """The model in torch eager, and the length that open_clip pads to; else in ONNX Runtime, and 0.

    Where there is no torch, or the model came without weights for it.
    """
    try:
        model = load_model(str(folder), Inference(runtime="torch"), image=False)
    except ConfigError:
        return load_model(str(folder), Inference(runtime="onnxruntime"), image=False), 0
    return model, read_layout(folder).config.text_cfg.context_length


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
        labels, distances = index.knn_query(vector, k=min(asked["k"], len(paths)))
        return jsonify(
            [
                {"path": paths[label], "score": 1 - float(distance)}
                for label, distance in zip(labels[0], distances[0], strict=True)
            ]
        )

    return app


def create_middle(settings: Settings) -> Flask:
    """POST /search {"text", "k"}: {"hits"}, the best of all shards, best first."""
    app = Flask("middle")
    pool = ThreadPoolExecutor(SHARD_THREADS)
    app.extensions["closing"] = ExitStack()  # what our gunicorn settings close at the end
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


def main() -> None:
    """Serve what the JSON on standard input names: inference, search or middle."""
    settings = json.load(sys.stdin)
    if settings["role"] == "middle":
        serving = Serving("127.0.0.1", 0, MIDDLE_THREADS, 2**20, settings["workers"])
        serve_workers("benchmarks.baseline.servers:create_middle", (settings,), serving)
        return
    create = create_inference if settings["role"] == "inference" else create_search
    server = waitress.create_server(create(settings), host="127.0.0.1", port=0, threads=8)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())  # waitress drains
    announce(server.effective_port)
    server.run()


if __name__ == "__main__":
    run(main)
