"""How long a request may still take: what its caller says, less the time that it waited here."""

import re
import select
import time

from flask import Request, current_app, g

from common.errors import BadRequest, CallerGone, DeadlineExceeded
from common.metrics import DROPPED

DEADLINE_HEADER = "X-Deadline-Ms"
"""How much time the caller still has for the answer, in milliseconds."""
AT_ONCE_S = 0.1
"""Who asked less long ago is there; looking is a system call, which costs more than it takes: it
lets go of the interpreter."""


def deadline_of(given: Request, most_s: float) -> float:
    """When the answer must be there, on time.monotonic(); the time runs once the caller has sent
    it all. Raises BadRequest, DeadlineExceeded when it waited too long, and CallerGone.
    """
    said = given.headers.get(DEADLINE_HEADER)
    if said is not None:
        if not re.fullmatch("[0-9]{1,9}", said):
            raise BadRequest(f"{DEADLINE_HEADER} is a number of milliseconds, 0 to 999999999")
        most_s = min(most_s, int(said) / 1000)
    waited_s: float = g.waited_s
    if most_s <= waited_s:
        DROPPED.labels(current_app.name, "expired").inc()
        raise DeadlineExceeded("the deadline passed before the request's turn came")
    if waited_s > AT_ONCE_S and is_gone(given):
        DROPPED.labels(current_app.name, "caller_gone").inc()
        raise CallerGone("whoever asked has closed the connection")
    return time.monotonic() + most_s - waited_s


def is_gone(given: Request) -> bool:
    """Whether the caller has closed the connection, or said that nothing more will come on it."""
    if told := given.environ.get("waitress.client_disconnected"):
        return bool(told())
    connection = given.environ.get("gunicorn.socket")
    if connection is None or not hasattr(select, "POLLRDHUP"):
        return False
    poll = select.poll()
    poll.register(connection, select.POLLRDHUP)
    return bool(poll.poll(0))
