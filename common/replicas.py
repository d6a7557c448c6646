"""The replicas of a service: the choice of the next replica, and outlier ejection."""

import asyncio
import contextvars
import logging
import math
import random
from collections.abc import Container, Sequence
from itertools import count
from typing import Literal

from common.errors import InvalidResponse, ServiceError, Unavailable
from common.http_client import BrokenReply, HttpClient, NotConnected, Request
from common.load_balancing import PeakEwma
from common.metrics import REPLICA_OUT, REPLIES
from common.names import Target, Targets

log = logging.getLogger(__name__)

MAX_FAILURES = 5
"""Failures in a row after which a replica is ejected."""
PENALTY_S = 1.0
"""A failure counts as this latency. Lost hedges alone raise an estimate no further."""
PROBE_EVERY_S = 0.5
PROBE_S = 1.0

TryOutcome = Literal["late", "unreachable", "refused", "garbled", "other-version"]


def outcome_of(error: ServiceError) -> TryOutcome:
    """The outcome of a try that ended in an error before the deadline."""
    if isinstance(error, NotConnected | BrokenReply):
        return "unreachable"
    if isinstance(error, InvalidResponse):
        return "garbled"
    return "other-version" if error.status < 500 or error.code == "behind" else "refused"


class Replica:
    """One address of a service, with its latency and its health."""

    def __init__(self, number: int, target: Target) -> None:
        self.number = number
        self.target = target
        self.address = target.address
        self.latency = PeakEwma()
        self.in_flight = 0
        self.failures = 0
        """Failures in a row."""
        self.is_ejected = False
        self.is_probed = False
        self.answered_at = -math.inf
        """The time of the last answer, on the loop's clock."""


class ReplicaSet:
    """The replicas of one service. Belongs to one event loop."""

    def __init__(
        self,
        name: str,
        addresses: Sequence[str],
        http: HttpClient,
        probe_path: str,
        *,
        keeps_last: bool,
    ) -> None:
        """`name` is the name of the service in logs and metrics.

        With `keeps_last`, the last replica in use is not ejected for silence: no other can answer.
        Otherwise all replicas may be ejected, so that no request waits for a service that hangs.
        """
        self._keeps_last = keeps_last
        self._name = name
        self._targets = Targets(addresses, http.names)
        self._changes = -1
        self._all: list[Replica] = []
        self._http = http
        self._probe_request = Request("GET", probe_path)
        self._probes: set[asyncio.Task[None]] = set()
        self._is_closed = False
        self._last_failure: ServiceError = Unavailable("a server behind this one is down")

    @property
    def all(self) -> list[Replica]:
        """The replicas; they change with the addresses of names."""
        if self._changes != self._targets.changes:
            self._changes = self._targets.changes
            self._update(self._targets.all())
        return self._all

    async def wait(self) -> None:
        """Wait for the first addresses of names, for a short time after the start."""
        await self._targets.wait()

    def choose(
        self, tried: Container[Replica], among: Container[str] | None = None
    ) -> Replica | None:
        """The better of two random replicas that are not ejected and not tried; None without any.

        With `among`, one of these addresses.

        Source: Mitzenmacher, The Power of Two Choices in Randomized Load Balancing.
        """
        usable = [
            replica
            for replica in self.all
            if not replica.is_ejected
            and replica not in tried
            and (among is None or replica.address in among)
        ]
        if len(usable) < 2:
            return usable[0] if usable else None
        now = asyncio.get_running_loop().time()
        two = random.sample(usable, 2)
        return min(
            two, key=lambda replica: replica.latency.estimate_s(now) * (1 + replica.in_flight)
        )

    def last_failure(self) -> ServiceError:
        """The last error, for a request without a usable replica.

        A copy: one exception that is raised again and again would collect tracebacks.
        """
        last = self._last_failure
        return type(last)(last.detail, last.code, last.status)

    def answered(self, replica: Replica, took_s: float) -> None:
        """Count an answer of a replica."""
        REPLIES.labels(self._name, "ok").inc()
        replica.failures = 0
        replica.answered_at = asyncio.get_running_loop().time()
        replica.latency.observe(took_s, replica.answered_at)

    def lost_hedge(self, replica: Replica, waited_s: float) -> None:
        """Count that another replica answered first, and probe whether this replica answers."""
        now = asyncio.get_running_loop().time()
        # The true latency is over `waited_s` and unknown: the estimate doubles. Without the limit,
        # ten lost hedges in a row would shut a replica out for half a minute.
        doubled_s = min(2 * replica.latency.estimate_s(now), PENALTY_S)
        replica.latency.observe(max(waited_s, doubled_s), now)
        self._start_probe(replica)

    def failed(self, replica: Replica, outcome: TryOutcome, why: ServiceError) -> None:
        """Count a failure, and probe the replica if it may be down."""
        REPLIES.labels(self._name, outcome).inc()
        if outcome != "other-version" or why.code == "behind":  # it answers at once, but in vain
            replica.latency.observe(PENALTY_S, asyncio.get_running_loop().time())
        if outcome == "other-version":
            return
        replica.failures += outcome != "late"  # a short deadline may be the cause
        self._last_failure = why
        if replica.failures >= MAX_FAILURES:
            self.eject(replica, f"{replica.failures} failures in a row")
        elif outcome in ("late", "unreachable"):  # it may be down
            self._start_probe(replica)

    def eject(self, replica: Replica, reason: str) -> None:
        """Eject a replica unless all others are ejected, and probe it until it is ready."""
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
        if replica.is_probed or self._is_closed:  # requests may fail after close
            return
        replica.is_probed = True
        # An empty context: a probe does not carry the id and trace of the request that failed.
        probe = asyncio.get_running_loop().create_task(
            self._probe(replica), context=contextvars.Context()
        )
        self._probes.add(probe)
        probe.add_done_callback(self._probes.discard)

    async def _probe(self, replica: Replica) -> None:
        """Probe a replica until it is ready; a silent replica is ejected.

        A replica is silent if it answered neither the probe nor a later request. A probe alone may
        get lost while a replica starts.
        """
        loop = asyncio.get_running_loop()
        while replica in self.all:
            status, sent_at = 0, loop.time()
            try:
                async with asyncio.timeout(PROBE_S):
                    reply = await self._http.send(
                        replica.address,
                        self._probe_request,
                        new_connection=True,
                        tls_name=replica.target.name,
                    )
                    status = reply.status
            except (ServiceError, TimeoutError):
                pass
            except Exception:  # probing must go on, or the replica would stay ejected
                log.exception("%s: %s cannot be probed", self._name, replica.address)
            is_silent = not status and replica.answered_at < sent_at
            if is_silent and not (self._keeps_last and self._is_last(replica)):
                self._set_ejected(replica, is_ejected=True, reason="it does not answer")
            if 0 < status < 500:
                self._set_ejected(replica, is_ejected=False, reason="it is ready")
                replica.is_probed = False
                return
            await asyncio.sleep(sent_at + PROBE_EVERY_S - loop.time())

    def _update(self, targets: list[Target]) -> None:
        """Replace the replicas by those of `targets`; those that stay keep what is known."""
        kept = {replica.target: replica for replica in self._all if replica.target in targets}
        for gone in set(self._all) - set(kept.values()):
            self._set_ejected(gone, is_ejected=False, reason="its name has left it")
        taken = {replica.number for replica in kept.values()}
        free = (number for number in count() if number not in taken)
        self._all = [kept.get(target) or Replica(next(free), target) for target in targets]

    def _is_last(self, replica: Replica) -> bool:
        return all(other.is_ejected for other in self.all if other is not replica)

    def _set_ejected(self, replica: Replica, *, is_ejected: bool, reason: str) -> None:
        if replica.is_ejected == is_ejected or replica not in self._all:
            return
        state, level = ("ejected", logging.WARNING) if is_ejected else ("readmitted", logging.INFO)
        if is_ejected and self._http.is_starting(replica.address):
            level = logging.DEBUG
        log.log(level, "%s: %s is %s: %s", self._name, replica.address, state, reason)
        replica.is_ejected = is_ejected
        REPLICA_OUT.labels(self._name, replica.number).set(is_ejected)
        if not is_ejected:
            replica.failures, replica.latency = 0, PeakEwma()
