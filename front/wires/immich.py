"""The machine learning API of Immich, as far as it is CLIP.

https://github.com/immich-app/immich/tree/main/machine-learning
"""

import io
import re
import threading
from typing import Any

import msgspec
from flask import Blueprint, Response, request
from PIL import Image

from common.digest import with_digest
from common.errors import BadRequest, NotFound, NotImplementedHere, Overloaded
from common.http_client import HttpClient, Reply, Request
from common.json_input import decode_json
from common.loop import within
from common.server.reply import json_reply
from common.server.request import long_deadline_of
from front.wires.backend import Backend, Input

Entries = dict[str, dict[str, dict[str, Any]]]
"""By task and kind: the name and the options of a model."""
ANSWER_S = 120.0
"""Its first request loads a model, maybe from the Internet. Immich's own limit for it is as long:
MACHINE_LEARNING_WORKER_TIMEOUT, after which its worker is ended."""
MAX_ASKED = 16
"""Requests that wait for it, each in a thread that searches need as well."""
PARTS = re.compile(r"[^a-z0-9]+")


class Others:
    """What does not ask for CLIP (faces, text in images) is answered by an Immich server."""

    def __init__(self, address: str, backend: Backend) -> None:
        """`address` is "host:port"."""
        self._address = address
        self._backend = backend
        self._http = HttpClient()
        self._places = threading.BoundedSemaphore(MAX_ASKED)

    def answer(self) -> Response:
        """The reply of the other server to the request; raises a ServiceError."""
        if not self._places.acquire(blocking=False):
            raise Overloaded("the Immich server has as many requests as it may: try again later")
        try:
            return self._ask()
        finally:
            self._places.release()

    def _ask(self) -> Response:
        headers = {"Content-Type": request.headers.get("Content-Type", "")}
        asked = Request("POST", "/predict", with_digest(request.get_data()), headers)
        deadline = long_deadline_of(request, ANSWER_S)
        reply: Reply = self._backend.loop.run(
            within(deadline, self._http.send(self._address, asked))
        )
        return Response(reply.body, reply.status, content_type=reply.headers.get("Content-Type"))

    async def close(self) -> None:
        """Close the connections."""
        await self._http.close()


def create(backend: Backend, others: Others | None) -> Blueprint:
    """`POST /predict` and `GET /ping`; `others` answers what is not CLIP."""
    wire = Blueprint("immich", __name__)

    @wire.get("/ping")
    def ping() -> Response:
        return Response("pong", content_type="text/plain")

    @wire.post("/predict")
    def predict() -> Response:
        request.get_data()  # kept, for `others`; the form is read from it
        entries = decode_json(request.form.get("entries", "").encode(), Entries)
        if list(entries) != ["clip"]:
            if others is None:
                raise NotImplementedHere(
                    "only clip is answered here: name an Immich server for the rest in"
                    " Front.immich-upstream, or turn it off in Immich's settings"
                )
            return others.answer()
        return _clip(entries["clip"], backend)

    return wire


def _clip(kinds: dict[str, dict[str, Any]], backend: Backend) -> Response:
    if len(kinds) != 1 or not kinds.keys() <= {"textual", "visual"}:
        raise BadRequest("clip: ask for one of textual and visual")
    ((kind, model),) = kinds.items()
    _check_model(str(model.get("modelName", "")), backend.info().model)
    size: dict[str, int] = {}
    item: Input
    if kind == "textual":
        item = request.form.get("text", "")
    else:
        file = request.files.get("image")
        if file is None:
            raise BadRequest("image: send the file in this field")
        item = file.read()
    (vector,) = backend.embed([item]).embeddings
    if isinstance(item, bytes):
        width, height = Image.open(io.BytesIO(item)).size  # a file that the model has read
        size = {"imageHeight": height, "imageWidth": width}
    told = {"clip": msgspec.json.encode(vector).decode(), **size}
    return json_reply(told)


def _check_model(asked: str, known: str) -> None:
    """Raise NotFound for another model: its vectors could not be compared with those of others."""
    if PARTS.split(asked.lower()) != PARTS.split(known.lower()):
        raise NotFound(
            f"modelName: this server has {known}, not {asked}: choose it in Immich's settings",
            "model_not_found",
        )
