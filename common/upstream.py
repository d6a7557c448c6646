"""Requests to a service with replicas: the choice of a replica, hedged requests and retries.

All retries happen here. A request is sent in full at most twice, with `once` set at most once:

| outcome of a try                           | second try                                       |
|--------------------------------------------|--------------------------------------------------|
| no connection, so nothing was sent         | each replica not tried yet; then once, on any    |
| the connection or the reply broke off      | once, on another replica or else on the same     |
| an invalid reply, or a 5xx but 501         | once, on another replica                         |
| no reply within the p98 of recent replies  | once, on another replica: a hedged request       |
| any other status, or the deadline passed   | never                                            |
"""

import asyncio
import logging
from collections.abc import Callable, Container, Sequence
from functools import partial
from typing import Any, Generic, Literal, NamedTuple, TypeVar

from common.deadline import DEADLINE_HEADER
from common.errors import DeadlineExceeded, NotImplementedHere, ServiceError
from common.hedging import Try, hedged, retried
from common.http_client import BrokenReply, HttpClient, NotConnected, Reply, Request, checked
from common.load_balancing import Budget, LatencyWindow
from common.logs import REQUESTS as REQUEST_LINES
from common.loop import within
from common.metrics import EXTRA_REQUESTS
from common.replicas import Replica, ReplicaSet, outcome_of
from common.wire import DRAINING_HEADER

log = logging.getLogger(REQUEST_LINES)

Result = TypeVar("Result")
Read = Callable[[Reply], Result]
"""Decodes a reply; raises InvalidResponse for an invalid reply."""

HEDGE_SHARE = 0.1
"""The share of requests that may be hedged: sent to a second replica, as the first is slow. It is
more than the 2 to 8 % that want a hedge in normal times (simulated: docs/decisions/006). So some of
the budget is left for the moment when a replica hangs."""
RETRY_SHARE = 0.2
"""The share of requests that may be sent again because the first try failed."""


class _Question(NamedTuple, Generic[Result]):
    """A request, how to read its reply, and the replicas that were tried."""

    request: Request
    deadline: float
    read: Read[Result]
    window: LatencyWindow
    tried: dict[Replica, str]
    """What became of each try."""
    among: Container[str] | None = None

    def state(self, replica: Replica) -> str:
        """What became of the try of a replica, or why it was not tried."""
        return self.tried.get(replica) or ("ejected" if replica.is_ejected else "not tried")


class Upstream:
    """A service that has replicas. Belongs to one event loop."""

    def __init__(
        self,
        name: str,
        addresses: Sequence[str],
        http: HttpClient,
        *,
        probe_path: str = "/ready",
        grace_s: float = 0.0,
        needs_digest: bool = False,
        keeps_last: bool = True,
    ) -> None:
        """The caller closes `http`. A reply may come up to `grace_s` after the deadline.

        With `needs_digest`, a reply without a digest is invalid. `keeps_last`: see `ReplicaSet`.
        """
        self._name = name
        self._http = http
        self._replicas = ReplicaSet(name, addresses, http, probe_path, keeps_last=keeps_last)
        self._grace_s = grace_s
        self._needs_digest = needs_digest
        self._windows: dict[str, LatencyWindow] = {}
        self._budgets = {"hedge": Budget(HEDGE_SHARE), "retry": Budget(RETRY_SHARE)}

    @property
    def size(self) -> int:
        """The number of replicas, as far as is known."""
        return len(self._replicas.all)

    def in_use(self) -> list[str]:
        """The addresses of the replicas that are not ejected."""
        return [replica.address for replica in self._replicas.all if not replica.is_ejected]

    async def ask(
        self,
        request: Request,
        deadline: float,
        read: Read[Result],
        among: Container[str] | None = None,
    ) -> Result:
        """The first good reply, decoded, by the table above; `deadline` is on the loop's clock.

        With `among`, only replicas of these addresses are asked.
        Raises the ServiceError of an error reply, Unavailable, DeadlineExceeded.
        """
        if deadline <= asyncio.get_running_loop().time():
            raise DeadlineExceeded("no time is left to ask a server behind this one")
        for budget in self._budgets.values():
            budget.earn()
        await self._find(deadline)
        route = (request.method != "POST" and request.path.rpartition("/")[0]) or request.path
        window = self._windows.get(route) or self._windows.setdefault(route, LatencyWindow())
        question = _Question(request, deadline, read, window, {}, among)
        asking = self._answer(question)
        try:
            answer = await within(deadline + self._grace_s, asking)
        except ServiceError:
            self._log(question)
            raise
        if isinstance(answer, ServiceError):
            raise answer
        return answer

    async def ask_all(self, request: Request, deadline: float) -> list[Reply | ServiceError]:
        """Ask each replica once; returns the reply or the error of each, in order."""
        await self._find(deadline)
        asking = [self._ask_alone(request, deadline, replica) for replica in self._replicas.all]
        return await asyncio.gather(*asking)

    async def close(self) -> None:
        """Stop probing."""
        await self._replicas.close()

    async def _find(self, deadline: float) -> None:
        """Wait for the first addresses of names after the start; raises DeadlineExceeded."""
        if not self._replicas.all:
            await within(deadline, self._replicas.wait())

    async def _answer(self, question: _Question[Result]) -> Result | ServiceError:
        """The first good reply of one or two tries. Returns and raises errors as `_ask`."""
        once = question.request.once
        replica = self._replicas.choose({}, question.among)
        if replica is None:
            raise self._replicas.last_failure()
        first = partial(self._try, question, replica, new_connection=once)
        second = partial(self._second, question)
        if len(self._replicas.all) == 1 or once:
            return await retried(first, second)
        after_s = max(question.window.p98_s, question.request.hedge_after_s)
        return await hedged(first, second, after_s)

    async def _ask_alone(
        self, request: Request, deadline: float, replica: Replica
    ) -> Reply | ServiceError:
        question: _Question[Reply] = _Question(
            request, deadline, lambda reply: reply, LatencyWindow(), {}
        )
        asked = self._ask(question, replica, new_connection=True)
        try:
            return await within(deadline + self._grace_s, asked)
        except ServiceError as error:
            return error

    def _second(
        self, question: _Question[Result], failure: BaseException | None
    ) -> Try[Result | ServiceError] | None:
        """The retry after a failure, or the hedge of a slow try; None if neither is allowed."""
        if question.request.once:
            return None  # it may have been written
        replica = self._replicas.choose(question.tried, question.among)
        if replica is None and isinstance(failure, BrokenReply | NotConnected):
            replica = self._replicas.choose({}, question.among)
        if replica is None or not self._may("retry" if failure else "hedge"):
            return None
        return partial(self._try, question, replica, new_connection=True)

    def _may(self, why: Literal["hedge", "retry"]) -> bool:
        """Take a second request for this reason from its budget; False if the budget is empty."""
        may = self._budgets[why].spend()
        EXTRA_REQUESTS.labels(self._name, why if may else f"{why}-over-budget").inc()
        return may

    async def _try(
        self, question: _Question[Result], replica: Replica, *, new_connection: bool = False
    ) -> Result | ServiceError:
        """Ask a replica. If no connection is made, ask the next replica that was not tried."""
        while True:
            question.tried[replica] = "no reply"
            try:
                return await self._ask(question, replica, new_connection=new_connection)
            except NotConnected:
                other = self._replicas.choose(question.tried, question.among)
                if other is None:
                    raise
                replica = other

    async def _ask(
        self, question: _Question[Result], replica: Replica, *, new_connection: bool = False
    ) -> Result | ServiceError:
        """Ask one replica. Returns an error that any replica would answer, raises other errors."""
        loop = asyncio.get_running_loop()
        started = loop.time()
        left_ms = max(1, int(1000 * (question.deadline - started)))
        result: Result | ServiceError
        replica.in_flight += 1
        try:
            reply = await self._http.send(
                replica.address,
                question.request,
                {DEADLINE_HEADER: str(left_ms)},
                new_connection=new_connection,
                tls_name=replica.target.name,
            )
            if DRAINING_HEADER in reply.headers:
                self._replicas.eject(replica, "it is draining")
            result = question.read(await checked(reply, needs_digest=self._needs_digest))
        except ServiceError as error:
            if not _is_answer(error):
                question.tried[replica] = type(error).__name__
                self._replicas.failed(replica, outcome_of(error), error)
                raise
            result = error
        except asyncio.CancelledError:
            if loop.time() < question.deadline:
                self._replicas.lost_hedge(replica, loop.time() - started)
            else:
                late = DeadlineExceeded("a server behind this one did not answer in time")
                self._replicas.failed(replica, "late", late)
            raise
        finally:
            replica.in_flight -= 1
        took_s = loop.time() - started
        self._replicas.answered(replica, took_s)
        question.window.observe(took_s)
        return result

    def _log(self, question: _Question[Any]) -> None:
        """Log what became of a request without a good reply at each replica."""
        states = (f"{it.address} {question.state(it)}" for it in self._replicas.all)
        level = logging.INFO if self.in_use() else logging.DEBUG  # else the ejections are logged
        path = question.request.path
        log.log(level, "%s: no good reply to %s: %s", self._name, path, ", ".join(states))


def _is_answer(error: ServiceError) -> bool:
    """Whether any replica would answer this error; otherwise another replica may succeed."""
    is_final = error.status < 500 or error.status == NotImplementedHere.status
    return error.code == "wrong_shard" or (is_final and error.code != "no_such_version")
