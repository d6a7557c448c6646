"""The embedded inference server: TorchServe's inference API without Java and without torch."""

import logging
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from flask import Flask, Response, request

from common.config import Config
from common.inside import Inside
from common.server.internal_auth import guard
from common.server.request import check_digests
from common.errors import MissingPackage, NotFound
from common.server.service import create_service, on_close
from common.wire import MSGPACK, decode, encode
from inference.engine import Engine
from inference.messages import IMAGE_BATCH, EmbedRequest
from inference.model import check_images, check_space, load_model
from inference.registry import mclip_of

log = logging.getLogger(__name__)


def create_app(config: Config, root: Path) -> Flask:
    """Load the models of `config`, warm them, and serve them under their role, clip and mclip."""
    pool = ThreadPoolExecutor(
        config.inference.decode_threads or os.cpu_count(), thread_name_prefix="decode"
    )
    engines, missing = _load_engines(config, root, pool)
    app = create_service("inference", lambda: None, max_body_bytes(config))
    guard(app, Inside(config.inside, root), config.inference.address)
    check_digests(app)
    on_close(app, pool.shutdown)
    for engine in engines.values():
        engine.start()
        on_close(app, engine.close)

    @app.get("/ping")
    def ping() -> dict[str, str]:
        return {"status": "Healthy"}

    @app.post("/predictions/<name>")
    def predict(name: str) -> Response:
        if name not in engines:
            raise NotFound(missing.get(name, f"there is no model {name!r}"), "model_unavailable")
        reply = engines[name].embed(decode(request.get_data(), EmbedRequest))
        return Response(encode(reply), content_type=MSGPACK)

    return app


def max_body_bytes(config: Config) -> int:
    """The largest body that a client of ours sends."""
    return IMAGE_BATCH * config.max_message_bytes


def _load_engines(
    config: Config, root: Path, pool: ThreadPoolExecutor
) -> tuple[dict[str, Engine], dict[str, str]]:
    """The engine of each role, and for the roles that have none the reason."""
    how = config.inference
    mclip = mclip_of(how.clip, how.mclip)
    clip = load_model(how.clip, how, root)
    models, missing = {"clip": clip}, {}
    if not mclip:
        missing["mclip"] = f"no multilingual model: Inference.mclip names none beside {how.clip}"
    elif mclip == how.clip:
        models["mclip"] = clip
    else:
        try:
            models["mclip"] = load_model(mclip, how, root, image=False)
        except MissingPackage as error:
            missing["mclip"] = f"no multilingual model: {error}"
            log.info(missing["mclip"])
    check_images(clip)
    if clip.text is None:
        log.warning("%s has no text tower: only images find images", how.clip)
    engines = {}
    for role, model in models.items():
        check_space(model, clip)
        model.warm()
        engines[role] = Engine(model, clip.space, how, pool)
    return engines, missing
