"""Bodies of requests that are not read, or that cannot be."""

import threading
from typing import Any

from common.errors import BadRequest

READ_BYTES = 2**16
"""So much of a body is read for nothing: a new connection costs the client as much."""
UNCLOSED_BYTES = 2**20
"""So much where the application cannot have the connection closed after its reply."""
_answering = threading.local()


def answer(request: Any) -> None:
    """Note the gunicorn request that this thread answers."""
    _answering.request = request


def close_after_reply() -> bool:
    """Close the connection of the request that this thread answers, and say so in the reply.

    Only gunicorn leaves that to the application; False under another server.
    """
    if request := getattr(_answering, "request", None):
        request.force_close()
    return request is not None


def discard(environ: dict[str, Any]) -> None:
    """Read a body that nobody wants, so that the connection can be kept; close it for a long one.

    A client that still sends when the connection is closed may never see the reply.
    """
    is_chunked = "HTTP_TRANSFER_ENCODING" in environ
    left = UNCLOSED_BYTES if is_chunked else int(environ.get("CONTENT_LENGTH") or 0)
    if left > READ_BYTES and close_after_reply():
        return
    left = min(left, UNCLOSED_BYTES)
    while left > 0 and (read := len(environ["wsgi.input"].read(min(left, READ_BYTES)))):
        left -= read


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
