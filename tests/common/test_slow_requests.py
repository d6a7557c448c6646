"""What has been in hand for too long, with a clock of our own."""

import logging

import pytest

from common.server.admission import Admission
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


def test_an_encoding_is_not_stuck_for_a_minute(caplog: pytest.LogCaptureFixture) -> None:
    """An image is encoded in seconds, which is no fault; what takes longer still is."""
    clock = Clock()
    admission = Admission("long-test", Application(), clock)
    slow_requests = SlowRequests("long-test", admission, 6.0, clock)
    Asked(admission, path="/predictions/sam_encode", HTTP_X_REQUEST_ID="encoding")
    with caplog.at_level(logging.WARNING):
        for clock.now in (7.0, 64.0):
            slow_requests.look()
        assert [] == caplog.records
        clock.now = 66.0
        slow_requests.look()

    assert ["encoding"] == [vars(record)["fields"]["request_id"] for record in caplog.records]


def test_a_look_ends_with_its_service() -> None:
    """Its thread is gone when `close` returns, and closing what never began is well."""
    admission = Admission("short-test", Application())
    slow_requests = SlowRequests("short-test", admission, 6.0)
    SlowRequests("short-test", admission, 6.0).close()
    slow_requests.start()
    slow_requests.close()
