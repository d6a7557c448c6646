"""Fuzz targets for what strangers send: images, requests, addresses of images."""

import json
import re
from collections.abc import Callable
from contextlib import ExitStack
from typing import IO, Any

from flask import Flask, Request
from PIL import Image
from werkzeug.exceptions import HTTPException

from common.errors import BadRequest, ServiceError
from common.images.exif import MAX_TEXT
from common.images.facts import facts_of
from common.images.renditions import render
from common.wire import decode
from front.image_url import HOST, read_url
from front.query import read_classify_query, read_embed_request, read_query
from inference.clip.images import Preprocessing, decode_for, preprocess
from middle.messages import Query
from middle.query_checks import check
from tests.front import pictures

SIDE = 32
HOW = Preprocessing(size=SIDE, mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25))
MAX_PIXELS = 250_000
MAX_BODY_BYTES = 2**16


def image(data: bytes) -> None:
    """Read the EXIF of an image, decode it as inference does, and shrink it as front does."""
    facts = facts_of(data)
    assert facts.keys() <= {"taken", "camera"}
    assert all(fact.isprintable() and len(fact) <= 2 * MAX_TEXT + 1 for fact in facts.values())
    try:
        decoded = decode_for(data, HOW, MAX_PIXELS)
    except ServiceError:
        return
    assert (3, SIDE, SIDE) == preprocess(decoded, HOW).shape
    assert b"\xff\xd8" == render(data, SIDE, MAX_PIXELS)[:2]


def images() -> list[bytes]:
    """What to begin with."""
    bombs = [pictures.png((20_000, 20_000), 8, 2, b""), pictures.png((1, 2000), 8, 0, b"")]
    kinds = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF", "HEIF", "JPEG2000")
    plain = [pictures.encoded(pictures.noise(size=(16, 12)), kind) for kind in kinds]
    exif = Image.Exif()
    exif[0x010F] = "Leica"
    exif.get_ifd(0x8769).update({0x9003: "2024:05:01 12:00:00", 0x9011: "+02:00"})
    told = [pictures.encoded(pictures.noise(), kind, exif=exif.tobytes()) for kind in WITH_EXIF]
    return [*bombs, *plain, *told, *(make()[0] for make in pictures.VARIANTS.values())]


WITH_EXIF = ("JPEG", "PNG", "WEBP", "TIFF", "HEIF")
JSON, FORM = "application/json", "multipart/form-data; boundary=b"
READERS: list[tuple[str, str, Callable[[Any], Any]]] = [
    ("POST", JSON, read_query),
    ("POST", JSON, read_embed_request),
    ("POST", JSON, read_classify_query),
    ("POST", FORM, read_query),
    ("POST", FORM, read_classify_query),
    ("GET", "", read_query),
]


class Closing(Request):
    """Closes its files: of a form that ends in one, Werkzeug leaves that to whoever collects it."""

    def _get_file_stream(self, *args: Any, **options: Any) -> IO[bytes]:
        stream = super()._get_file_stream(*args, **options)
        FILES.callback(stream.close)
        return stream


FILES = ExitStack()
APP = Flask("fuzz")
APP.request_class = Closing
APP.config["MAX_CONTENT_LENGTH"] = MAX_BODY_BYTES


def request(data: bytes) -> None:
    """Read a request as front does, in the form that the first byte says, or middle's message."""
    number = data[0] % (len(READERS) + 1) if data else 0
    data = data[1:]
    try:
        if number == len(READERS):
            check(decode(data, Query))
            return
        method, kind, read = READERS[number]
        body, address = (b"", data) if method == "GET" else (data, b"")
        overrides = {"QUERY_STRING": address.decode("latin-1")}
        context = APP.test_request_context(
            "/", method=method, data=body, content_type=kind, environ_overrides=overrides
        )
        with FILES, context as given:
            read(given.request)
    except (ServiceError, HTTPException):
        return
    if kind == JSON:  # whatever was read, no field was there twice
        json.loads(body, object_pairs_hook=_assert_once, parse_int=float)


def _assert_once(pairs: list[tuple[str, object]]) -> None:
    assert len(pairs) == len(dict(pairs)), pairs


def requests() -> list[bytes]:
    """What to begin with."""
    messages: list[dict[str, Any]] = [
        {"text": "red", "k": 5, "min_score": 0.1, "model": "auto", "dedup": "near"},
        {"image": "YWJj", "require_full": True},
        {"image_url": "http://1.1.1.1/"},
        {"id": "0" * 32},
        {"embedding": [1.0, -2e3]},
        {"texts": ["a", "b"]},
        {"images": ["YWJj"], "labels": ["a", "b"], "template": "a {}", "top": 3},
    ]
    bodies = [json.dumps(message).encode() for message in messages]
    field = b'--b\r\nContent-Disposition: form-data; name="%s"%s\r\n\r\n%s\r\n'
    form = field % (b"image", b'; filename="a"', b"abc") + field % (b"k", b"", b"5") + b"--b--\r\n"
    address = b"text=red&k=5&min_score=0.1&require_full=true"
    packed = b"\x82\xa4text\xa3red\xa1k\x05"
    return [
        *(bytes([number]) + body for number in range(3) for body in bodies),
        *(bytes([number]) + form for number in (3, 4)),
        b"\x05" + address,
        b"\x06" + packed,
    ]


PATH = re.compile(r"/[!-~]*")
"""Nothing that could end the line of a request."""


def url(data: bytes) -> None:
    """Take apart the address of an image, as a client or a redirect may give it."""
    try:
        target = read_url(data.decode(errors="surrogateescape"), (80, 443))
    except BadRequest:
        return
    assert HOST.fullmatch(target.host)
    assert PATH.fullmatch(target.path)
    assert target.path == target.asked_of("checked.invalid").raw_path_qs


def urls() -> list[bytes]:
    """What to begin with."""
    return [
        b"http://pictures.example/a.jpg?b=c#d",
        "https://münchen.example:443/ü".encode(),
        b"http://[2606:4700::1]:80/",
        b"http://user:secret@8.8.8.8/",
        b"http://0x7f.1/\\@x",
    ]
