"""How long a request may still take, as its caller says."""

import re
import time

from common.errors import BadRequest, DeadlineExceeded

DEADLINE_HEADER = "X-Deadline-Ms"
"""How much time the caller still has for the answer, in milliseconds."""


def deadline_in(said: str | None, most_s: float) -> float:
    """When the answer must be there, on time.monotonic(): after `most_s`, or sooner.

    `said` is the value of the header, if there is one. Raises BadRequest for what is no number of
    milliseconds, and DeadlineExceeded when no time is left.
    """
    if said is not None:
        if not re.fullmatch("[0-9]{1,9}", said):
            raise BadRequest(f"{DEADLINE_HEADER} is a number of milliseconds, 0 to 999999999")
        most_s = min(most_s, int(said) / 1000)
    if most_s <= 0:
        raise DeadlineExceeded("the deadline passed before the request came")
    return time.monotonic() + most_s
