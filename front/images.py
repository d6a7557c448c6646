"""The routes of image files: the image itself, its thumbnail and its preview."""

import io
from collections.abc import Callable
from functools import partial
from pathlib import Path

from flask import Flask, Response, request, send_file
from werkzeug.routing import BaseConverter

from common.config import Config
from common.images.renditions import RenditionFolder
from front.browser_headers import disposition
from front.known_ids import KnownIds, Mark
from front.renditions import Renditions, content_type_of, read_image
from middle.messages import Image

MAX_AGE = "max-age=3600"
"""How long browsers show an image whose file is gone. An image of an id never changes, so then they
ask with its ETag whether it is still there."""
RenditionOf = Callable[[str, str], bytes]
"""Gives the thumbnail or the preview of an image id."""


class ImageId(BaseConverter):
    """An image's id in an address, or what stands for one: all but the `delete` of its route."""

    regex = "(?!delete$)[^/]+"


def add_images(
    app: Flask,
    config: Config,
    root: Path,
    image_of: Callable[[str], Image],
    mark: Callable[[], Mark],
) -> Callable[[str], bytes]:
    """Add the routes of images, thumbnails and previews; returns what makes a thumbnail.

    `mark` is that of `KnownIds`: an image that was deleted is not shown from memory, either.
    """
    front = config.front
    renditions = Renditions(
        config.inference.max_pixels,
        front.thumbnail_cache_bytes,
        RenditionFolder(root / front.rendition_dir, front.rendition_bytes),
    )
    app.url_map.converters["id"] = ImageId
    known = KnownIds(mark)
    sides = {"thumbnail": front.thumbnail_pixels, "preview": front.preview_pixels}

    def path_of(image_id: str) -> Path:
        return root / image_of(image_id).file

    def rendition_of(image_id: str, kind: str) -> bytes:
        side = sides[kind]
        if known.have(image_id) and (kept := renditions.get(image_id, side)):
            return kept
        mark = known.mark()
        path = path_of(image_id)
        known.add(image_id, mark)
        return renditions.get(image_id, side) or renditions.make(image_id, side, path)

    caching = f"{'private' if front.keys_file else 'public'}, {MAX_AGE}"
    _add_routes(app, path_of, rendition_of, caching)
    return partial(rendition_of, kind="thumbnail")


def _add_routes(
    app: Flask, path_of: Callable[[str], Path], rendition_of: RenditionOf, caching: str
) -> None:
    @app.get("/v1/images/<id:image_id>")
    def image(image_id: str) -> Response:
        path = path_of(image_id)
        data = read_image(image_id, path)
        kind = content_type_of(data)
        response = send_file(io.BytesIO(data), kind, conditional=True, etag=image_id)
        response.headers["Content-Disposition"] = disposition(path.name)
        response.headers["Cache-Control"] = caching
        return response

    @app.get("/v1/images/<id:image_id>/thumbnail", defaults={"kind": "thumbnail"})
    @app.get("/v1/images/<id:image_id>/preview", defaults={"kind": "preview"})
    def rendition(image_id: str, kind: str) -> Response:
        data = rendition_of(image_id, kind)
        response = Response(data, content_type="image/jpeg", headers={"Cache-Control": caching})
        response.set_etag(image_id)
        response.make_conditional(request)
        return response
