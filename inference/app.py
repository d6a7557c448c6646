"""The embedded inference server: TorchServe's inference API without Java and without torch."""

import logging
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from flask import Flask, Response, request
from prometheus_client import start_http_server

from common.config import Config
from common.cores import usable_cores
from common.errors import ConfigError, MissingPackage, NotFound
from common.internal_auth import InternalAuth
from common.server.internal_auth import authorize
from common.server.request import check_digests, may_take_until, take_body
from common.server.service import create_service, on_close
from common.wire import MSGPACK, decode, encode
from inference.clip.model import check_images, check_space, load_model
from inference.clip.registry import mclip_of
from inference.messages import (
    IMAGE_BATCH,
    EmbedRequest,
    GrabCutRequest,
    SamDecodeRequest,
    SamEncodeRequest,
)
from inference.segment.grabcut import GrabCut
from inference.segment.sam import load_sam
from inference.segment.served_sam import ServedSam
from inference.served_model import ServedModel

log = logging.getLogger(__name__)

Asked = TypeVar("Asked", EmbedRequest, GrabCutRequest, SamEncodeRequest, SamDecodeRequest)

NO_SAM = "no Segment Anything model: Inference.sam names none"


def create_app(config: Config, root: Path) -> Flask:
    """Load and warm the models of `config`, and serve each under its role, clip or mclip."""
    pool = ThreadPoolExecutor(
        config.inference.decode_threads or usable_cores(), thread_name_prefix="decode"
    )
    models, missing = _load_models(config, root, pool)
    app = create_service("inference", lambda: None, max_body_bytes(config))
    host, _ = config.inference.bound
    authorize(app, InternalAuth(config.inside, root), host)
    check_digests(app)
    on_close(app, pool.shutdown)
    grabcut, sam = GrabCut(config.inference), _load_sam(config, root)
    parts: list[ServedModel | GrabCut | ServedSam] = [*models.values(), grabcut]
    for part in [*parts, sam] if sam else parts:
        part.start()
        on_close(app, part.close)

    if (port := config.inference.metrics_port) is not None:
        try:
            server, thread = start_http_server(port, host)
        except OSError as error:
            raise ConfigError(f"Inference.metrics-port {port}: {error.strerror}") from None
        on_close(app, thread.join)
        on_close(app, server.server_close)
        on_close(app, server.shutdown)

    @app.get("/ping")
    def ping() -> dict[str, str]:
        return {"status": "Healthy"}

    @app.post("/predictions/<name>")
    def predict(name: str) -> Response:
        if name not in models:
            raise NotFound(missing.get(name, f"there is no model {name!r}"), "model_unavailable")
        return Response(encode(models[name].embed(_message(EmbedRequest))), content_type=MSGPACK)

    _add_role(app, "grabcut", GrabCutRequest, grabcut.segment)
    if sam:
        _add_role(app, "sam_encode", SamEncodeRequest, sam.encode)
        _add_role(app, "sam_decode", SamDecodeRequest, sam.decode)
    else:
        missing |= dict.fromkeys(("sam_encode", "sam_decode"), NO_SAM)
    return app


def _add_role(app: Flask, role: str, kind: type[Asked], answer: Callable[[Asked], object]) -> None:
    """Serve a role with a route of its own, as its requests take longer than an embedding."""

    @app.post(f"/predictions/{role}", endpoint=role)
    def predict() -> Response:
        return Response(encode(answer(_message(kind))), content_type=MSGPACK)


def _message(kind: type[Asked]) -> Asked:
    """The message in the body of this thread's request, which may take until its deadline."""
    message = decode(take_body(), kind)
    may_take_until(request, time.monotonic() + message.deadline_ms / 1000)
    return message


def max_body_bytes(config: Config) -> int:
    """The limit of a request body, in bytes: a full batch of the largest images."""
    return IMAGE_BATCH * config.max_message_bytes


def _load_sam(config: Config, root: Path) -> ServedSam | None:
    settings = config.inference.of("sam")
    return ServedSam(load_sam(settings.sam, settings, root), settings) if settings.sam else None


def _load_models(
    config: Config, root: Path, pool: ThreadPoolExecutor
) -> tuple[dict[str, ServedModel], dict[str, str]]:
    """The model of each role, and the reason for each role without a model."""
    settings = config.inference
    own = {role: settings.of(role) for role in ("clip", "mclip")}
    mclip = mclip_of(settings.clip, settings.mclip)
    clip = load_model(settings.clip, own["clip"], root)
    models, missing = {"clip": clip}, {}
    if not mclip:
        missing["mclip"] = f"no multilingual model: Inference.mclip names none beside {clip.name}"
    elif mclip == settings.clip and own["mclip"] == own["clip"]:
        models["mclip"] = clip
    else:
        try:
            models["mclip"] = load_model(mclip, own["mclip"], root, image=False)
        except MissingPackage as error:
            missing["mclip"] = f"no multilingual model: {error}"
            log.info(missing["mclip"])
    check_images(clip)
    if clip.text is None:
        log.warning("%s has no text tower: only images find images", settings.clip)
    served = {}
    for role, model in models.items():
        check_space(model, clip)
        model.warm()
        served[role] = ServedModel(role, model, clip.space, own[role], pool)
    return served, missing
