"""The replicas of a service: which is asked next, and which is ejected until it is ready again."""

import asyncio
import contextvars
import logging
import math
import random
from collections.abc import Sequence
from contextlib import suppress
from typing import Literal

from common.errors import ServiceError, Unavailable
from common.http_client import HttpClient, Request
from common.load_balancing import PeakEwma
from common.metrics import REPLICA_OUT, REPLIES

log = logging.getLogger(__name__)

MAX_FAILURES = 5
"""In a row; then a replica is ejected."""
PENALTY_S = 1.0
"""What a failure counts as, as a latency."""
PROBE_EVERY_S = 0.5
PROBE_S = 1.0

TryOutcome = Literal["late", "unreachable", "refused", "garbled", "other-version"]


class Replica:
    """One address, and what is known of it."""

    def __init__(self, number: int, address: str) -> None:
        self.number = number
        self.address = address
        self.latency = PeakEwma()
        self.in_flight = 0
        self.failures = 0
        """In a row."""
        self.is_ejected = False
        self.is_probed = False
        self.answered_at = -math.inf
        """When its last answer came, on the loop's clock."""


class ReplicaSet:
    """The replicas of one service, of which some may be ejected. Belongs to one event loop."""

    def __init__(
        self,
        name: str,
        addresses: Sequence[str],
        http: HttpClient,
        probe_path: str,
        *,
        keeps_last: bool,
    ) -> None:
        """`name` is what logs and metrics call the service.

        With `keeps_last` the last replica is asked even when it does not answer probes: without it
        there would be no answer at all. Else nobody waits for replicas that all hang.
        """
        self._keeps_last = keeps_last
        self._name = name
        self.all = [Replica(number, address) for number, address in enumerate(addresses)]
        self._http = http
        self._probe_request = Request("GET", probe_path)
        self._probes: set[asyncio.Task[None]] = set()
        self._is_closed = False
        self._last_failure: ServiceError = Unavailable("a server behind this one is down")

    def choose(self, tried: Sequence[Replica]) -> Replica | None:
        """The better of two that were not tried and are not ejected, if there are any.

        Source: Mitzenmacher, The Power of Two Choices in Randomized Load Balancing.
        """
        left = [one for one in self.all if not one.is_ejected and one not in tried]
        if len(left) < 2:
            return left[0] if left else None
        now = asyncio.get_running_loop().time()
        two = random.sample(left, 2)
        return min(two, key=lambda one: one.latency.estimate_s(now) * (1 + one.in_flight))

    def last_failure(self) -> ServiceError:
        """Why no replica is left: a new error each time, or it would keep all that it passed."""
        last = self._last_failure
        return type(last)(last.detail, last.code, last.status)

    def answered(self, replica: Replica, took_s: float) -> None:
        """Take in that a replica answered."""
        REPLIES.labels(self._name, "ok").inc()
        replica.failures = 0
        replica.answered_at = asyncio.get_running_loop().time()
        replica.latency.observe(took_s, replica.answered_at)

    def lost_hedge(self, replica: Replica, waited_s: float) -> None:
        """Take in that another one answered first, and see whether this one answers at all."""
        now = asyncio.get_running_loop().time()
        # it takes longer than that, nobody knows how much
        replica.latency.observe(max(waited_s, 2 * replica.latency.estimate_s(now)), now)
        self._start_probe(replica)

    def failed(self, replica: Replica, outcome: TryOutcome, why: ServiceError) -> None:
        """Take in a failure, and have a replica probed that may be gone."""
        REPLIES.labels(self._name, outcome).inc()
        if outcome == "other-version":
            return
        replica.latency.observe(PENALTY_S, asyncio.get_running_loop().time())
        replica.failures += outcome != "late"  # perhaps it was given too little time
        self._last_failure = why
        if replica.failures >= MAX_FAILURES:
            self.eject(replica, f"{replica.failures} failures in a row")
        elif outcome in (
            "late",
            "unreachable",
        ):  # gone, perhaps: then a probe tells when it is back
            self._start_probe(replica)

    def eject(self, replica: Replica, reason: str) -> None:
        """Eject a replica, unless it is the last one, and probe it until it is ready."""
        if not self._is_last(replica):
            self._set_ejected(replica, is_ejected=True, reason=reason)
        self._start_probe(replica)

    async def close(self) -> None:
        """Stop probing."""
        self._is_closed = True
        for probe in self._probes:
            probe.cancel()
        await asyncio.gather(*self._probes, return_exceptions=True)

    def _start_probe(self, replica: Replica) -> None:
        if replica.is_probed or self._is_closed:  # what was cancelled ends after that
            return
        replica.is_probed = True
        # in a context of its own: it does not work for the request that brought it about
        probe = asyncio.get_running_loop().create_task(
            self._probe(replica), context=contextvars.Context()
        )
        self._probes.add(probe)
        probe.add_done_callback(self._probes.discard)

    async def _probe(self, replica: Replica) -> None:
        """Ask a replica until it is ready; one that says nothing is ejected.

        A probe that is lost, as the replica was starting, says nothing of one that answers others.
        """
        loop = asyncio.get_running_loop()
        while True:
            status, sent_at = 0, loop.time()
            with suppress(ServiceError, TimeoutError):
                async with asyncio.timeout(PROBE_S):
                    reply = await self._http.send(
                        replica.address, self._probe_request, is_retry=True
                    )
                    status = reply.status
            is_silent = not status and replica.answered_at < sent_at
            if is_silent and not (self._keeps_last and self._is_last(replica)):
                self._set_ejected(replica, is_ejected=True, reason="it does not answer")
            if 0 < status < 500:
                self._set_ejected(replica, is_ejected=False, reason="it is ready")
                replica.is_probed = False
                return
            await asyncio.sleep(sent_at + PROBE_EVERY_S - loop.time())

    def _is_last(self, replica: Replica) -> bool:
        return all(one.is_ejected for one in self.all if one is not replica)

    def _set_ejected(self, replica: Replica, *, is_ejected: bool, reason: str) -> None:
        if replica.is_ejected == is_ejected:
            return
        state, level = ("ejected", logging.WARNING) if is_ejected else ("readmitted", logging.INFO)
        if is_ejected and self._http.is_starting(replica.address):
            level = logging.DEBUG
        log.log(level, "%s: %s is %s: %s", self._name, replica.address, state, reason)
        replica.is_ejected = is_ejected
        REPLICA_OUT.labels(self._name, replica.number).set(is_ejected)
        if not is_ejected:
            replica.failures, replica.latency = 0, PeakEwma()
