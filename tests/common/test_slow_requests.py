"""What has been in hand for too long, with a clock of our own."""

import logging
import math

import pytest
from flask import Request

from common.server.admission import Admission
from common.server.request import may_take_until
from common.server.slow_requests import SlowRequests
from tests.common.test_admission import Application, Asked, Clock, metric


def test_a_request_that_does_not_end_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    """When it is older than it may be; the gauges say how old the oldest is."""
    clock = Clock()
    admission = Admission("slow-test", Application(), clock)
    slow_requests = SlowRequests("slow-test", admission, 6.0, clock)
    stuck = Asked(admission, HTTP_X_REQUEST_ID="stuck")
    clock.now = 5.0
    Asked(admission, HTTP_X_REQUEST_ID="young")
    with caplog.at_level(logging.WARNING):
        for clock.now in (5.5, 6.5, 7.0):
            slow_requests.look()
    told = [vars(record)["fields"] for record in caplog.records]

    assert [("stuck", 6.5)] == [(one["request_id"], one["age_s"]) for one in told]
    assert "test_slow_requests.py" in told[0]["stack"]
    assert 1 == metric("stuck_requests_total", service="slow-test")
    assert 2 == metric("in_flight", service="slow-test")
    assert 7.0 == metric("oldest_request_seconds", service="slow-test")
    stuck.close()
    slow_requests.look()
    assert 2.0 == metric("oldest_request_seconds", service="slow-test")
    assert 0 == metric("draining", service="slow-test")


@pytest.mark.parametrize(("longer_s", "told_s"), [(60.0, 65.5), (0.5, 6.5), (math.inf, None)])
def test_a_request_is_not_stuck_before_its_own_deadline(
    caplog: pytest.LogCaptureFixture, longer_s: float, told_s: float | None
) -> None:
    """A large model encodes an image for half a minute, which is no fault; the limit of others
    holds if it is the longer one, and for a deadline that there is not each part has its own.
    """
    clock, app = Clock(), Application()
    admission = Admission("long-test", app, clock)
    slow_requests = SlowRequests("long-test", admission, 6.0, clock)
    clock.now = 1.0
    Asked(admission, HTTP_X_REQUEST_ID="encoding")
    may_take_until(Request(app.asked[0]), clock.now + longer_s)
    told = []
    with caplog.at_level(logging.WARNING):
        for clock.now in (1.5, 6.9, 7.5, 65.9, 66.5, 1e6):
            slow_requests.look()
            told += [clock.now - 1.0] * len(caplog.records)
            caplog.clear()

    assert told == [told_s] * (told_s is not None)


def test_a_look_ends_with_its_service() -> None:
    """Its thread is gone when `close` returns, and closing what never began is well."""
    admission = Admission("short-test", Application())
    slow_requests = SlowRequests("short-test", admission, 6.0)
    SlowRequests("short-test", admission, 6.0).close()
    slow_requests.start()
    slow_requests.close()
