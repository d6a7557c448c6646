"""Request bodies that are refused or cannot be read."""

import threading
from collections.abc import Callable
from typing import Any

from flask import Flask, request

from common.errors import BadRequest

READ_BYTES = 2**16
"""A refused body up to this size is read: a new connection costs the client as much."""
_answering = threading.local()
WITHOUT_BODY = ("GET", "HEAD", "OPTIONS", "DELETE")
"""Methods whose routes read no body."""


def answer(request: Any) -> None:
    """Set the request that this thread answers; its `force_close()` is as in gunicorn."""
    _answering.request = request


def close_after_reply() -> None:
    """Close the connection of this thread's request after the reply, and say so in the reply.

    Under waitress nothing happens: an application cannot close a connection there.
    """
    if request := getattr(_answering, "request", None):
        request.force_close()


def has_body(environ: dict[str, Any]) -> bool:
    """Whether a request says that it has a body."""
    return environ.get("CONTENT_LENGTH") not in (None, "", "0") or (
        "HTTP_TRANSFER_ENCODING" in environ
    )


def discard(environ: dict[str, Any]) -> None:
    """Read a refused body, so that the connection can be kept. A long body closes the connection.

    A client that is still sending when the connection is closed may never see the reply.
    """
    length = int(environ.get("CONTENT_LENGTH") or 0)
    if "HTTP_TRANSFER_ENCODING" in environ or length > READ_BYTES:
        close_after_reply()
    elif length:
        environ["wsgi.input"].read(length)


def read_unused(app: Flask) -> None:
    """Read the body that no route reads, so that a cut or malformed one is refused, too.

    Call it after what refuses requests unread.
    """

    @app.before_request
    def read() -> None:
        if not has_body(request.environ):
            return
        if request.method in WITHOUT_BODY or request.url_rule is None:
            while request.stream.read(READ_BYTES):
                pass


class CountedBody:
    """A body of a known length; one that ends before is a BadRequest."""

    def __init__(self, given: Any, length: int) -> None:
        """`given` is the `wsgi.input` of a server."""
        self._given = given
        self._left = length

    def read(self, size: int = -1) -> bytes:
        """Read `size` bytes, or all; raises BadRequest."""
        wanted = self._left if size < 0 else min(size, self._left)
        data: bytes = self._given.read(wanted)
        self._left -= len(data)
        if len(data) < wanted:
            close_after_reply()
            raise BadRequest("the body is shorter than its Content-Length")
        return data

    def readline(self, size: int = -1) -> bytes:
        """Read a line, or `size` bytes of it."""
        data: bytes = self._given.readline(self._left if size < 0 else min(size, self._left))
        self._left -= len(data)
        return data


class Chunks:
    """A chunked body. Each server's own exception for an invalid chunk becomes a BadRequest."""

    def __init__(self, given: Any, count: Callable[[int], None]) -> None:
        """`given` is the `wsgi.input` of a server; `count` gets the length of what is read."""
        self._given = given
        self._count = count

    def read(self, *size: int) -> bytes:
        """Read `size` bytes, or all; raises BadRequest."""
        return self._call(self._given.read, *size)

    def readline(self, *size: int) -> bytes:
        """Read a line; raises BadRequest."""
        return self._call(self._given.readline, *size)

    def _call(self, read: Any, *size: int) -> bytes:
        try:
            data: bytes = read(*size)
        except OSError:  # the client disconnected
            raise
        except Exception as error:  # an invalid chunk
            close_after_reply()
            raise BadRequest("the body is not in chunks as HTTP has them") from error
        self._count(len(data))
        return data
