"""The replicas of a search server: which to ask, and which not to ask until it is ready again."""

import logging
import random
import threading
import time
from collections.abc import Sequence
from typing import Literal

from common.connection import BrokenReply
from common.errors import ServiceError, Unavailable
from common.inside import Inside
from common.metrics import EXTRA_REQUESTS, REPLICA_OUT, REPLIES
from common.peer import Peer
from search.balance import Budget, Latency, Recent

log = logging.getLogger(__name__)

HEDGED = 0.05
"""The share of requests that may go to a second replica because the first is slow."""
RETRIED = 0.2
"""The share that may because the first failed."""
FAILURES = 5
"""In a row; then a replica is asked no more until it is ready again."""
PENALTY_S = 1.0
"""What a failure counts as, as a latency."""
PROBE_EVERY_S = 0.5
PROBE_S = 1.0

Why = Literal["hedge", "retry"]
Outcome = Literal["late", "unreachable", "refused", "garbled", "other-version"]


class Replica:
    """One address, and what we know of it."""

    def __init__(self, number: int, peer: Peer) -> None:
        self.number = number
        self.peer = peer
        self.latency = Latency()
        self.in_flight = 0
        self.failures = 0
        """In a row."""
        self.is_out = False
        self.is_probed = False


class Replicas:
    """Those of one entry of the server list; asked from any thread."""

    def __init__(
        self, name: str, addresses: Sequence[str], connections: int, inside: Inside | None
    ) -> None:
        """`connections` are kept to each."""
        self._name = name
        peers = [Peer(address, connections, inside) for address in addresses]
        self._replicas = [Replica(number, peer) for number, peer in enumerate(peers)]
        self._recent: dict[str, Recent] = {}
        self._hedges, self._retries = Budget(HEDGED), Budget(RETRIED)
        self._lock = threading.Lock()
        self._closed = threading.Event()
        self._why_out: ServiceError = Unavailable("a search server is down")

    def close(self) -> None:
        """Stop probing and close the connections that nobody uses."""
        self._closed.set()
        for replica in self._replicas:
            replica.peer.close()

    def recent(self, path: str) -> Recent:
        """The times of a path's replies; to be asked for once a question, which it counts."""
        self._hedges.earn()
        self._retries.earn()
        return self._recent.setdefault(path, Recent())

    def choose(self, tried: Sequence[Replica]) -> Replica | None:
        """The better of two that were not tried, None when there is no such one that is not out.

        Source: Mitzenmacher, The Power of Two Choices in Randomized Load Balancing.
        """
        fresh = [one for one in self._replicas if not one.is_out and one not in tried]
        now = time.monotonic()
        two = random.sample(fresh, min(2, len(fresh)))
        return min(
            two, key=lambda one: one.latency.estimate_s(now) * (1 + one.in_flight), default=None
        )

    def why_out(self) -> ServiceError:
        """What the last failure was, for when no replica is left."""
        last = self._why_out  # raised again and again it would keep every place that it passed
        return type(last)(last.detail, last.code, last.status)

    def may(self, why: Why) -> bool:
        """Whether the budget has another request for this reason; if so it is spent."""
        may = (self._hedges if why == "hedge" else self._retries).spend()
        EXTRA_REQUESTS.labels(self._name, why if may else f"{why}-over-budget").inc()
        return may

    def count_in(self, replica: Replica, change: int) -> None:
        """Count requests that are under way to a replica in or out."""
        with self._lock:
            replica.in_flight += change

    def answered(self, replica: Replica) -> None:
        """Take in that a replica answered."""
        REPLIES.labels(self._name, "ok").inc()
        replica.failures = 0

    def outrun(self, replica: Replica, took_s: float) -> None:
        """Take in that another one answered first, and see whether this one answers at all."""
        now = time.monotonic()
        # it takes longer than that, nobody knows how much
        replica.latency.observe(max(took_s, 2 * replica.latency.estimate_s(now)), now)
        self._start_probe(replica)

    def failed(self, replica: Replica, how: Outcome, why: ServiceError) -> None:
        """Take in that one did not, and have it probed when it may be gone."""
        REPLIES.labels(self._name, how).inc()
        if how == "other-version":
            return
        replica.latency.observe(PENALTY_S, time.monotonic())
        with self._lock:
            replica.failures += how != "late"  # perhaps it was given too little time
            self._why_out = why
            is_suspect = replica.failures >= FAILURES
            if is_suspect and any(not one.is_out for one in self._replicas if one is not replica):
                self._put(replica, is_out=True, reason=f"{replica.failures} failures in a row")
        if is_suspect or how == "late":
            self._start_probe(replica)

    def _start_probe(self, replica: Replica) -> None:
        with self._lock:
            if replica.is_probed:
                return
            replica.is_probed = True
        threading.Thread(target=self._probe, args=(replica,), name="probe", daemon=True).start()

    def _probe(self, replica: Replica) -> None:
        """Ask whether a replica is ready until it is; one that says nothing is out.

        So the last is never given up for failures alone, but nobody waits for one that hangs.
        """
        request = replica.peer.request("GET", "/ready", b"")
        while not self._closed.is_set():
            is_ready, is_silent = False, False
            try:
                is_ready = replica.peer.fetch(request, time.monotonic() + PROBE_S).status == 200
            except (OSError, BrokenReply):
                is_silent = True
            with self._lock:
                if is_silent:
                    self._put(replica, is_out=True, reason="it does not answer")
                if is_ready:
                    if replica.is_out:
                        self._put(replica, is_out=False, reason="it is ready")
                        replica.failures, replica.latency = 0, Latency()
                    replica.is_probed = False
                    return
            self._closed.wait(PROBE_EVERY_S)

    def _put(self, replica: Replica, *, is_out: bool, reason: str) -> None:
        if replica.is_out != is_out:
            state = "out" if is_out else "in again"
            log.warning("%s: %s is %s: %s", self._name, replica.peer.address, state, reason)
            replica.is_out = is_out
            REPLICA_OUT.labels(self._name, replica.number).set(is_out)
