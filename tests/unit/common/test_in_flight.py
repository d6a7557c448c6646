"""What a process has in hand, and what has been there for too long."""

import threading

import pytest

from common.in_flight import InFlight
from common.watchdog import Watchdog, measure
from tests.unit.counting import counted


def test_requests_are_counted_while_they_are_answered() -> None:
    """By the threads that answer them, or by the server where it counts those that wait."""
    in_flight = InFlight()
    assert in_flight.count() == 0
    in_flight.enter(5.0, "mine")
    thread = threading.Thread(target=in_flight.enter, args=(3.0, "other"))
    thread.start()
    thread.join()
    assert in_flight.count() == 2
    assert [one.request_id for _, one in in_flight.by_age()] == ["other", "mine"]
    in_flight.admitted = 7
    in_flight.excuse(1)
    assert in_flight.count() == 6
    in_flight.leave()
    assert [one.request_id for _, one in in_flight.by_age()] == ["other"]


def test_what_is_in_hand_is_measured() -> None:
    """Its number, the age of the oldest, and whether the service was told to stop."""
    in_flight = InFlight()
    in_flight.enter(0.0, "old")
    in_flight.draining.set()
    measure("unit", in_flight)

    assert counted("clip_search_in_flight", service="unit") == 1
    assert counted("clip_search_oldest_request_seconds", service="unit") > 0
    assert counted("clip_search_draining", service="unit") == 1


def test_a_request_that_does_not_end_is_told_of_once(caplog: pytest.LogCaptureFixture) -> None:
    """And where its thread stands."""
    in_flight = InFlight()
    watchdog = Watchdog("unit", in_flight, stuck_s=1.0)
    in_flight.enter(0.0, "stuck")
    before = counted("clip_search_stuck_requests_total", service="unit")
    for _ in range(3):
        watchdog._tell_of_stuck()

    assert counted("clip_search_stuck_requests_total", service="unit") - before == 1
    assert "a request does not end" in caplog.text
    watchdog.close()
