"""One question to the replicas of a search server: a second is asked when the first is slow or
fails, and the first good reply counts."""

import time
from collections.abc import Callable
from typing import TypeVar

from common.connection import BrokenReply, wait
from common.deadline import DEADLINE_HEADER
from common.digest import DIGEST, Sealed
from common.errors import DeadlineExceeded, Garbled, ServiceError, Unavailable
from common.peer import Exchange, checked
from search.replicas import Outcome, Replica, Replicas

Told = TypeVar("Told")
Read = Callable[[bytes], Told]
"""What the body of a reply says; raises Garbled where it is not to be believed."""


def ask(
    replicas: Replicas, path: str, body: Sealed | None, deadline: float, read: Read[Told]
) -> Told:
    """What the first good reply says, to a POST, or to a GET where there is no body.

    Where there is no second replica, the same is asked once more when it fails. `deadline` is on
    time.monotonic(). Raises the ServiceError that was answered, Unavailable, DeadlineExceeded.
    """
    asking = _Asking(replicas, path, body, deadline)
    try:
        asking.begin()
        while True:
            asking.wait()
            for attempt in list(asking.flying):
                if told := asking.look(attempt, read):
                    return told[0]
    finally:
        asking.end()


class _Attempt:
    """A request under way to a replica."""

    def __init__(self, replica: Replica, exchange: Exchange, started: float) -> None:
        self.replica = replica
        self.exchange = exchange
        self.started = started


class _Asking:
    def __init__(self, replicas: Replicas, path: str, body: Sealed | None, deadline: float) -> None:
        self.flying: list[_Attempt] = []
        self._replicas = replicas
        self._recent = replicas.recent(path)
        self._path = path
        self._body = body
        self._deadline = deadline
        self._tried: list[Replica] = []
        self._retried = False
        self._hedge_at = time.monotonic() + self._recent.p95_s

    def begin(self) -> None:
        """Ask the first replica; raises why there is none."""
        replica = self._replicas.choose([])
        if replica is None:
            raise self._replicas.why_out()
        self._send(replica)

    def wait(self) -> None:
        """Wait until there is something to read; asks a second replica when it takes long."""
        connections = [attempt.exchange.connection for attempt in self.flying]
        if wait(connections, min(self._deadline, self._hedge_at)):
            return
        if time.monotonic() < self._deadline:
            self._hedge()
            return
        late = DeadlineExceeded("a search server did not answer in time")
        for attempt in self.flying:
            self._replicas.failed(attempt.replica, "late", late)
        raise late

    def look(self, attempt: _Attempt, read: Read[Told]) -> tuple[Told] | None:
        """What an attempt's reply says, if it is there; raises when it is the last to fail."""
        try:
            reply = attempt.exchange.advance()
            if reply is None:
                return None
            told = read(checked(reply, must_be_sealed=True).body)
        except ServiceError as error:
            if _is_answer(error):
                self._take_time(attempt)
                raise
            self._drop(attempt)
            self._fail(attempt.replica, _how(error), error)
            return None
        except (OSError, BrokenReply):
            self._drop(attempt)
            self._fail(attempt.replica, "unreachable", _unreachable())
            return None
        self._take_time(attempt)
        return (told,)

    def end(self) -> None:
        """Give up what is still under way: it was slower, and its replica is taken for so slow."""
        for attempt in list(self.flying):
            self._drop(attempt)

    def _send(self, replica: Replica) -> None:
        now = time.monotonic()
        headers = {DEADLINE_HEADER: str(max(1, int(1000 * (self._deadline - now))))}
        if self._body is None:
            request = replica.peer.request("GET", self._path, b"", headers)
        else:
            headers[DIGEST] = self._body.digest
            request = replica.peer.request("POST", self._path, self._body.body, headers)
        self._tried.append(replica)
        try:
            exchange = replica.peer.begin(request, self._deadline)
        except TimeoutError:
            late = DeadlineExceeded("a search server took no connection in time")
            self._replicas.failed(replica, "late", late)
            if not self.flying:
                raise late from None
            return
        except OSError:
            self._fail(replica, "unreachable", _unreachable())
            return
        self._replicas.count_in(replica, 1)
        self.flying.append(_Attempt(replica, exchange, now))

    def _hedge(self) -> None:
        self._hedge_at = self._deadline
        other = self._replicas.choose(self._tried)
        if other and self._replicas.may("hedge"):
            self._send(other)

    def _fail(self, replica: Replica, how: Outcome, why: ServiceError) -> None:
        """Take in a failure; where nothing else is under way ask once more, or raise it."""
        self._replicas.failed(replica, how, why)
        if self.flying:
            return
        again = self._replicas.choose(self._tried)
        if again is None and not replica.is_out and how != "other-version":
            again = replica
        if self._retried or again is None or not self._replicas.may("retry"):
            raise why
        self._retried = True
        self._send(again)

    def _take_time(self, attempt: _Attempt) -> None:
        """Take in the time of a reply, and that the others had not answered by then."""
        self._replicas.answered(attempt.replica)
        now = time.monotonic()
        for one in self.flying:
            if one is attempt:
                one.replica.latency.observe(now - one.started, now)
            else:
                self._replicas.outrun(one.replica, now - one.started)
        self._recent.observe(now - attempt.started)
        self._replicas.count_in(attempt.replica, -1)
        self.flying.remove(attempt)

    def _drop(self, attempt: _Attempt) -> None:
        attempt.exchange.abandon()
        self._replicas.count_in(attempt.replica, -1)
        self.flying.remove(attempt)


def _is_answer(error: ServiceError) -> bool:
    """Whether an error is what any replica would answer; else another may do better."""
    return error.code == "wrong_shard" or (error.status < 500 and error.code != "no_such_version")


def _how(error: ServiceError) -> Outcome:
    if isinstance(error, Garbled):
        return "garbled"
    return "other-version" if error.status < 500 else "refused"


def _unreachable() -> Unavailable:
    return Unavailable("a search server cannot be reached")
