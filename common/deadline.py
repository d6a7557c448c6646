"""The deadline of a request, computed from the time that its caller still has."""

import re
import time

from common.errors import BadRequest, DeadlineExceeded

DEADLINE_HEADER = "X-Deadline-Ms"
"""The time that the caller still has for the answer, in milliseconds."""


def deadline_in(header: str | None, max_s: float, since: float | None = None) -> float:
    """The deadline on time.monotonic(): in `max_s` seconds, or earlier if the header says so.

    The header's time counts from `since`, when the request came; None: it comes now.

    Raises BadRequest if the header is not a number of milliseconds, and DeadlineExceeded if no
    time is left.
    """
    now = time.monotonic()
    deadline = now + max_s
    if header is not None:
        if not re.fullmatch("[0-9]{1,9}", header):
            raise BadRequest(f"{DEADLINE_HEADER} is a number of milliseconds, 0 to 999999999")
        deadline = min(deadline, (now if since is None else since) + int(header) / 1000)
    if deadline <= now:
        raise DeadlineExceeded("the deadline has passed")
    return deadline
