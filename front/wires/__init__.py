"""The APIs of other projects, over what the public API can do: one module for each project."""

from flask import Flask

from common.config import Front
from common.server.service import on_close
from front.wires import clip_retrieval, immich, openai, weaviate
from front.wires.backend import Backend


def add_wires(app: Flask, front: Front, backend: Backend) -> None:
    """Add the routes of the projects in `Front.wires`."""
    others = immich.Others(front.immich_upstream, backend) if front.immich_upstream else None
    if others:
        on_close(app, lambda: backend.loop.run(others.close()))
    wires = {
        "openai": openai.create,
        "clip-retrieval": clip_retrieval.create,
        "immich": lambda backend: immich.create(backend, others),
        "weaviate": weaviate.create,
    }
    for name in dict.fromkeys(front.wires):
        app.register_blueprint(wires[name](backend))
