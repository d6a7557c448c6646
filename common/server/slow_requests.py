"""A check of a service once a second: the requests under way, and those that do not end."""

import logging
import sys
import threading
import time
from collections.abc import Callable

from common.logs import places
from common.metrics import DRAINING, IN_FLIGHT, IN_FLIGHT_BYTES, OLDEST_SECONDS, STUCK
from common.server.admission import Admission, Underway

INTERVAL_S = 1.0
LATE_S = 5.0
"""How long after its deadline a request is stuck that has a longer one than others."""

log = logging.getLogger(__name__)


class SlowRequests:
    """Logs each request that takes longer than `stuck_s`, once.

    A request that may take until its own deadline is logged after that.
    """

    def __init__(
        self,
        service: str,
        admission: Admission,
        stuck_s: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._service = service
        self._admission = admission
        self._stuck_s = stuck_s
        self._clock = clock
        self._told: set[Underway] = set()
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="slow-requests", daemon=True)

    def start(self) -> None:
        """Start the checks; call it after the process has forked."""
        self._thread.start()

    def close(self) -> None:
        """End the checks."""
        self._closing.set()
        if self._thread.ident is not None:
            self._thread.join()

    def look(self) -> None:
        """Set the gauges, and log the requests that have become too old since the last check."""
        measure(self._service, self._admission, self._clock())
        now = self._clock()
        requests = self._admission.by_age()
        stuck = {request for request in requests if now > self._end(request)}
        for request in stuck - self._told:
            STUCK.labels(self._service).inc()
            fields = {
                "service": self._service,
                "request_id": request.request_id,
                "age_s": now - request.since,
                "stack": places(sys._current_frames().get(request.thread)),
            }
            log.warning("a request does not end", extra={"fields": fields})
        self._told = stuck

    def _end(self, request: Underway) -> float:
        return max(request.since + self._stuck_s, request.deadline + LATE_S)

    def _run(self) -> None:
        while not self._closing.wait(INTERVAL_S):
            self.look()
            self._admission.bodies.give_back_memory()


def measure(service: str, admission: Admission, now: float) -> None:
    """Set the gauges of a service; `now` is on the clock of `admission`."""
    requests = admission.by_age()
    IN_FLIGHT.labels(service).set(len(requests))
    IN_FLIGHT_BYTES.labels(service).set(admission.bodies.held())
    OLDEST_SECONDS.labels(service).set(now - requests[0].since if requests else 0.0)
    DRAINING.labels(service).set(admission.draining.has_begun())
