"""Asking a service that has replicas: which replica, and whether a second one is asked as well.

This is the one place that retries. A request that was sent whole is never sent more than twice:

| what became of it                            | again?                                        |
|----------------------------------------------|-----------------------------------------------|
| no connection: nothing was sent              | each replica not tried yet; it does not count |
| the connection or the reply broke off        | once, another replica, or the only one        |
| a reply that is not to be believed, or a 5xx | once, another replica                         |
| no reply within the p95 of the last ones     | once, another replica: a hedged request       |
| any other status, or the deadline is over    | never                                         |
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import Generic, Literal, NamedTuple, TypeVar

from common.deadline import DEADLINE_HEADER
from common.errors import DeadlineExceeded, InvalidResponse, ServiceError
from common.http_client import BrokenReply, HttpClient, NotConnected, Reply, Request, checked
from common.load_balancing import Budget, LatencyWindow
from common.loop import within
from common.metrics import EXTRA_REQUESTS
from common.replicas import Replica, ReplicaSet, TryOutcome
from common.wire import DRAINING_HEADER

Result = TypeVar("Result")
Try = Callable[[], Awaitable[Result]]
Read = Callable[[Reply], Result]
"""What a reply says; raises InvalidResponse where it is not to be believed."""

HEDGE_SHARE = 0.05
"""The share of requests that may go to a second replica because the first is slow."""
RETRY_SHARE = 0.2
"""The share that may because the first failed."""


async def hedged(
    first: Try[Result],
    second: Callable[[BaseException | None], Try[Result] | None],
    after_s: float,
) -> Result:
    """The first good result of two tries at most; the slower is cancelled.

    `second` gives the other try, or None. It is asked with None when the first takes longer than
    `after_s`, and while there is no other try, with the failure of the first. Raises what the last
    try ended in.
    """
    tries = [asyncio.ensure_future(first())]
    try:
        await asyncio.wait(tries, timeout=after_s)
        other = None if tries[0].done() else second(None)
        if other is None:
            await asyncio.wait(tries)
            failure = tries[0].exception()
            if failure is None:
                return tries[0].result()
            other = second(failure)
        if other:
            tries.append(asyncio.ensure_future(other()))
        for done in asyncio.as_completed(tries):
            with suppress(Exception):
                return await done
        return await tries[-1]
    finally:
        for one in tries:
            one.cancel()
            one.add_done_callback(lambda done: done.cancelled() or done.exception())


async def retried(
    first: Try[Result], second: Callable[[BaseException | None], Try[Result] | None]
) -> Result:
    """The same where a hedge is out of the question: half the cost, as it needs no task."""
    try:
        return await first()
    except ServiceError as failure:
        other = second(failure)
        if other is None:
            raise
    return await other()


class _Question(NamedTuple, Generic[Result]):
    """What is asked, and which replicas were."""

    request: Request
    deadline: float
    read: Read[Result]
    window: LatencyWindow
    tried: list[Replica]


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
        """`http` is closed by who made it. A reply is waited for `grace_s` beyond the deadline.

        `needs_digest`: a reply without a digest is not believed. `keeps_last`: see `ReplicaSet`.
        """
        self._name = name
        self._http = http
        self._replicas = ReplicaSet(name, addresses, http, probe_path, keeps_last=keeps_last)
        self._grace_s = grace_s
        self._needs_digest = needs_digest
        self._windows: dict[str, LatencyWindow] = {}
        self._budgets = {"hedge": Budget(HEDGE_SHARE), "retry": Budget(RETRY_SHARE)}

    async def ask(self, request: Request, deadline: float, read: Read[Result]) -> Result:
        """What the first good reply says, by the rule above; `deadline` is on the loop's clock.

        Raises the ServiceError that was answered, Unavailable, DeadlineExceeded.
        """
        if deadline <= asyncio.get_running_loop().time():
            raise DeadlineExceeded("no time is left to ask a server behind this one")
        for budget in self._budgets.values():
            budget.earn()
        replica = self._replicas.choose([])
        if replica is None:
            raise self._replicas.last_failure()
        route = request.path.rpartition("/")[0] or request.path  # /images of /images/ID
        window = self._windows.get(route) or self._windows.setdefault(route, LatencyWindow())
        question = _Question(request, deadline, read, window, [])
        first, second = partial(self._try, question, replica), partial(self._second, question)
        if len(self._replicas.all) == 1:
            asking = retried(first, second)
        else:
            asking = hedged(first, second, window.p95_s)
        answer = await within(deadline + self._grace_s, asking)
        if isinstance(answer, ServiceError):
            raise answer
        return answer

    async def ask_all(self, request: Request, deadline: float) -> list[Reply | ServiceError]:
        """Ask each replica once; what each answers, or fails with, in order."""
        asking = [self._ask_alone(request, deadline, replica) for replica in self._replicas.all]
        return await asyncio.gather(*asking)

    async def close(self) -> None:
        """Stop probing."""
        await self._replicas.close()

    async def _ask_alone(
        self, request: Request, deadline: float, replica: Replica
    ) -> Reply | ServiceError:
        question: _Question[Reply] = _Question(
            request, deadline, lambda reply: reply, LatencyWindow(), []
        )
        asked = self._ask(question, replica, is_retry=True)  # on a connection that is not kept
        try:
            return await within(deadline + self._grace_s, asked)
        except ServiceError as error:
            return error

    def _second(
        self, question: _Question[Result], failure: BaseException | None
    ) -> Try[Result | ServiceError] | None:
        """The other try of a question whose first failed or takes long, if there may be one."""
        is_broken = isinstance(failure, BrokenReply)
        if isinstance(failure, NotConnected):
            return None  # no replica is left
        replica = self._replicas.choose(question.tried)
        if replica is None and is_broken and not question.tried[-1].is_ejected:
            replica = question.tried[-1]
        if replica is None or not self._may("retry" if failure else "hedge"):
            return None
        return partial(self._try, question, replica, is_retry=True)

    def _may(self, why: Literal["hedge", "retry"]) -> bool:
        """Whether the budget has another request for this reason; if so it is spent."""
        may = self._budgets[why].spend()
        EXTRA_REQUESTS.labels(self._name, why if may else f"{why}-over-budget").inc()
        return may

    async def _try(
        self, question: _Question[Result], replica: Replica, *, is_retry: bool = False
    ) -> Result | ServiceError:
        """Ask a replica; while no connection is made, the next one that was not tried."""
        while True:
            question.tried.append(replica)
            try:
                return await self._ask(question, replica, is_retry=is_retry)
            except NotConnected:
                other = self._replicas.choose(question.tried)
                if other is None:
                    raise
                replica = other

    async def _ask(
        self, question: _Question[Result], replica: Replica, *, is_retry: bool = False
    ) -> Result | ServiceError:
        """What one replica says; returns an error that any would answer, raises all others."""
        loop = asyncio.get_running_loop()
        started = loop.time()
        left_ms = max(1, int(1000 * (question.deadline - started)))
        result: Result | ServiceError
        replica.in_flight += 1
        try:
            headers = {DEADLINE_HEADER: str(left_ms)}
            reply = await self._http.send(
                replica.address, question.request, headers, is_retry=is_retry
            )
            if DRAINING_HEADER in reply.headers:
                self._replicas.eject(replica, "it is draining")
            result = question.read(await checked(reply, needs_digest=self._needs_digest))
        except ServiceError as error:
            if not _is_answer(error):
                self._replicas.failed(replica, _outcome(error), error)
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


def _is_answer(error: ServiceError) -> bool:
    """Whether an error is what any replica would answer; else another may do better."""
    return error.code == "wrong_shard" or (error.status < 500 and error.code != "no_such_version")


def _outcome(error: ServiceError) -> TryOutcome:
    if isinstance(error, NotConnected | BrokenReply):
        return "unreachable"
    if isinstance(error, InvalidResponse):
        return "garbled"
    return "other-version" if error.status < 500 else "refused"
