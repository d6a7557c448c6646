"""How long a request may take, as its caller says."""

import time

import pytest

from common.deadline import deadline_in
from common.errors import BadRequest, DeadlineExceeded


def test_the_caller_can_shorten_the_time_and_not_lengthen_it() -> None:
    """The deadline is on time.monotonic()."""
    now = time.monotonic()
    short, long, default = (deadline_in(said, 10.0) for said in ("2000", "999999", None))

    assert now + 2 <= short < now + 10 <= long <= default


def test_the_caller_s_time_counts_from_when_the_request_came() -> None:
    """A later part of the request has what is left of it; its own limit counts from now."""
    came = time.monotonic() - 5.0

    assert came + 6 == deadline_in("6000", 10.0, came)
    assert came + 15 <= deadline_in(None, 10.0, came)
    with pytest.raises(DeadlineExceeded):
        deadline_in("4000", 10.0, came)


@pytest.mark.parametrize("said", ["", "-1", "1.5", "1e3", "9999999999", "soon"])
def test_what_is_no_number_of_milliseconds_is_refused(said: str) -> None:
    """It is the caller's mistake."""
    with pytest.raises(BadRequest, match="X-Deadline-Ms"):
        deadline_in(said, 10.0)


def test_without_time_nothing_is_begun() -> None:
    """0 is a number."""
    with pytest.raises(DeadlineExceeded):
        deadline_in("0", 10.0)
