"""Bodies of requests that are not read, or that cannot be."""

import threading
from typing import Any

from common.errors import BadRequest

READ_BYTES = 2**16
"""So much of a body is read for nothing: a new connection costs the client as much."""
_answering = threading.local()


def answer(request: Any) -> None:
    """Note the request that this thread answers; it has a method `force_close`, as gunicorn's."""
    _answering.request = request


def close_after_reply() -> None:
    """Close the connection of the request that this thread answers, and say so in the reply.

    waitress does not leave that to the application: there nothing happens.
    """
    if request := getattr(_answering, "request", None):
        request.force_close()


def discard(environ: dict[str, Any]) -> None:
    """Read a body that nobody wants, so that the connection can be kept; close it for a long one.

    A client that still sends when the connection is closed may never see the reply.
    """
    length = int(environ.get("CONTENT_LENGTH") or 0)
    if "HTTP_TRANSFER_ENCODING" in environ or length > READ_BYTES:
        close_after_reply()
    elif length:
        environ["wsgi.input"].read(length)


class Chunks:
    """A body in chunks. Every server reads it as it comes, and has an exception of its own for
    what is no chunk: here it becomes a BadRequest.
    """

    def __init__(self, given: Any) -> None:
        """`given` is the `wsgi.input` of a server."""
        self._given = given

    def read(self, *size: int) -> bytes:
        """So many bytes, or all; raises BadRequest."""
        return self._call(self._given.read, *size)

    def readline(self, *size: int) -> bytes:
        """A line; raises BadRequest."""
        return self._call(self._given.readline, *size)

    def _call(self, read: Any, *size: int) -> bytes:
        try:
            data: bytes = read(*size)
        except OSError:  # the client has gone
            raise
        except Exception as error:  # the edge of a server
            close_after_reply()
            raise BadRequest("the body is not in chunks as HTTP has them") from error
        return data
