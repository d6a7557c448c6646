"""The client of middle: what front asks it; answers are passed on as the JSON that they are."""

import math
import time
from urllib.parse import quote

import msgspec

from common.connection import Reply
from common.deadline import DEADLINE_HEADER
from common.inside import Inside
from common.peer import Peer
from common.wire import encode
from middle.messages import ClassifyQuery, EmbedQuery, Image, Query

GRACE_S = 0.5
"""Middle answers by its deadline itself, degraded or with an error: wait for that."""


class MiddleClient:
    """Connections to middle, for all threads of this process."""

    def __init__(
        self, address: str, connections: int, deadline_ms: int, inside: Inside | None = None
    ) -> None:
        """`address` is "host:port"; nothing is opened before the first question."""
        self._peer = Peer(address, connections, inside)
        self._deadline_ms = deadline_ms

    def search(
        self, query: Query, request_id: str, deadline: float, *, fresh: bool = False
    ) -> Reply:
        """The `Answer` to a query, in JSON; raises the ServiceError that it ended in.

        `deadline` is on time.monotonic(). With `fresh`, here and below, it is from no cache.
        """
        return self._post("/search", encode(query), request_id, deadline, fresh)

    def embed(
        self, query: EmbedQuery, request_id: str, deadline: float, *, fresh: bool = False
    ) -> bytes:
        """The `EmbedAnswer` to a query, in JSON; raises a ServiceError."""
        return self._post("/embed", encode(query), request_id, deadline, fresh).body

    def classify(
        self, query: ClassifyQuery, request_id: str, deadline: float, *, fresh: bool = False
    ) -> bytes:
        """The `ClassifyAnswer` to a query, in JSON; raises a ServiceError."""
        return self._post("/classify", encode(query), request_id, deadline, fresh).body

    def purge(self) -> None:
        """Empty the prediction cache; raises a ServiceError."""
        self._peer.ask("DELETE", "/cache", b"", self._until())

    def image(self, image_id: str) -> Image:
        """An indexed image; raises a ServiceError."""
        return msgspec.json.decode(self._get(f"/images/{quote(image_id, safe='')}"), type=Image)

    def info(self) -> bytes:
        """The `Info` of middle, in JSON; raises a ServiceError."""
        return self._get("/info")

    def ready(self) -> None:
        """Raise a ServiceError unless middle can answer queries."""
        self._get("/ready")

    def close(self) -> None:
        """Close the connections."""
        self._peer.close()

    def _post(self, path: str, body: bytes, request_id: str, deadline: float, fresh: bool) -> Reply:
        left_ms = max(0, math.floor(1000 * (deadline - time.monotonic())))
        headers = {DEADLINE_HEADER: str(left_ms), "X-Request-Id": request_id}
        if fresh:
            headers["Cache-Control"] = "no-cache"
        return self._peer.ask("POST", path, body, deadline + GRACE_S, headers)

    def _get(self, path: str) -> bytes:
        return self._peer.get(path, self._until())

    def _until(self) -> float:
        return time.monotonic() + self._deadline_ms / 1000 + GRACE_S
