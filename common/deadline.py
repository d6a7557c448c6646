"""The deadline of a request, computed from the time that its caller still has."""

import re
import time

from common.errors import BadRequest, DeadlineExceeded

DEADLINE_HEADER = "X-Deadline-Ms"
"""The time that the caller still has for the answer, in milliseconds."""


def deadline_in(header: str | None, max_s: float) -> float:
    """The deadline on time.monotonic(): in `max_s` seconds, or earlier if the header says so.

    Raises BadRequest if the header is not a number of milliseconds, and DeadlineExceeded if no
    time is left.
    """
    if header is not None:
        if not re.fullmatch("[0-9]{1,9}", header):
            raise BadRequest(f"{DEADLINE_HEADER} is a number of milliseconds, 0 to 999999999")
        max_s = min(max_s, int(header) / 1000)
    if max_s <= 0:
        raise DeadlineExceeded("the deadline passed before the request came")
    return time.monotonic() + max_s
