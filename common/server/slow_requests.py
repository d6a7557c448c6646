"""A look at a service once a second: what it has in hand, and what has been so for too long."""

import logging
import sys
import threading
import time

from common.logs import places
from common.metrics import DRAINING, IN_FLIGHT, OLDEST_SECONDS, STUCK
from common.server.in_flight import InFlight, Underway

INTERVAL_S = 1.0

log = logging.getLogger(__name__)


class Watchdog:
    """Tells, once for each, of requests that are older than they can be when all is well."""

    def __init__(self, service: str, in_flight: InFlight, stuck_s: float) -> None:
        self._service = service
        self._in_flight = in_flight
        self._stuck_s = stuck_s
        self._told: set[Underway] = set()
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="watchdog", daemon=True)

    def start(self) -> None:
        """Start to look; call it after the process has forked."""
        self._thread.start()

    def close(self) -> None:
        """Look no more."""
        self._closing.set()
        if self._thread.ident is not None:
            self._thread.join()

    def _run(self) -> None:
        while not self._closing.wait(INTERVAL_S):
            measure(self._service, self._in_flight)
            self._tell_of_stuck()

    def _tell_of_stuck(self) -> None:
        now = time.monotonic()
        stuck = [one for one in self._in_flight.by_age() if now - one[1].since > self._stuck_s]
        for thread, request in stuck:
            if request in self._told:
                continue
            STUCK.labels(self._service).inc()
            fields = {
                "service": self._service,
                "request_id": request.request_id,
                "age_s": now - request.since,
                "stack": places(sys._current_frames().get(thread)),
            }
            log.warning("a request does not end", extra={"fields": fields})
        self._told = {request for _, request in stuck}


def measure(service: str, in_flight: InFlight) -> None:
    """Set the gauges of a service."""
    oldest = in_flight.by_age()[:1]
    IN_FLIGHT.labels(service).set(in_flight.count())
    age_s = max((time.monotonic() - request.since for _, request in oldest), default=0.0)
    OLDEST_SECONDS.labels(service).set(age_s)
    DRAINING.labels(service).set(in_flight.draining.is_set())
