"""The routes of an image: the file, and the JPEGs that are made of it."""

import io
from collections.abc import Callable
from pathlib import Path

import pytest
from flask import Flask
from flask.testing import FlaskClient
from PIL import Image as PillowImage

from common.config import Config
from common.errors import NotFound
from common.files import content_hash
from common.server.problems import handle_errors
from front.images import add_images
from middle.messages import Image
from tests.front.pictures import encoded, noise

DATA = encoded(noise(), "PNG")
IMAGE_ID = content_hash(DATA) + 16 * "0"


def image_of(image_id: str) -> Image:
    """What middle says of an id."""
    if image_id != IMAGE_ID:
        raise NotFound("no image has this id", "unknown_id")
    return Image(image_id, "photos/a.png", {}, "a.png")


@pytest.fixture
def thumbnail_of(client: FlaskClient) -> Callable[[str], bytes]:
    """What makes a thumbnail for other routes."""
    made: Callable[[str], bytes] = client.application.extensions["thumbnail_of"]
    return made


@pytest.fixture
def client(tmp_path: Path) -> FlaskClient:
    """Asks front, which has the file."""
    (tmp_path / "a.png").write_bytes(DATA)
    app = Flask("front")
    handle_errors(app)
    app.extensions["thumbnail_of"] = add_images(app, Config(), tmp_path, image_of, lambda: None)
    return app.test_client()


def test_the_file_is_sent_as_it_is(client: FlaskClient) -> None:
    """Once: who has it already is told that nothing has changed."""
    reply = client.get(f"/v1/images/{IMAGE_ID}")
    assert (reply.status_code, reply.data, reply.content_type) == (200, DATA, "image/png")
    again = client.get(f"/v1/images/{IMAGE_ID}", headers={"If-None-Match": reply.headers["ETag"]})
    assert (again.status_code, again.data) == (304, b"")


@pytest.mark.parametrize("kind", ["thumbnail", "preview"])
def test_smaller_pictures_are_jpegs(client: FlaskClient, kind: str) -> None:
    """Never larger than the picture."""
    reply = client.get(f"/v1/images/{IMAGE_ID}/{kind}")
    assert reply.content_type == "image/jpeg"
    assert PillowImage.open(io.BytesIO(reply.data)).size == noise().size
    assert client.get(f"/v1/images/{'0' * 32}/{kind}").status_code == 404


def test_other_routes_get_the_thumbnail(
    client: FlaskClient, thumbnail_of: Callable[[str], bytes]
) -> None:
    """The same bytes."""
    assert thumbnail_of(IMAGE_ID) == client.get(f"/v1/images/{IMAGE_ID}/thumbnail").data
