"""How often a caller may ask, by a clock that stands still."""

from contextlib import suppress

import pytest

from common.errors import RateLimited
from common.rate_limit import MOST_CALLERS, RateLimiter
from devtools.fake_clock import FakeClock


def test_the_burst_comes_back_at_the_rate() -> None:
    """After a refusal, waiting as long as it says is enough and nothing is lost by asking."""
    clock = FakeClock()
    rates = RateLimiter(2, 4, clock)
    for _ in range(4):
        rates.acquire("a")
    for _ in range(100):
        with pytest.raises(RateLimited) as refused:
            rates.acquire("a")
    assert 1 == refused.value.retry_after_s
    clock.advance(0.5)
    rates.acquire("a")
    clock.advance(60)
    for _ in range(4):
        rates.acquire("a")
    with pytest.raises(RateLimited):
        rates.acquire("a")


def test_the_memory_for_callers_is_bounded() -> None:
    """However many addresses ask, and a network of IPv6 is one caller."""
    rates = RateLimiter(1, 1)
    for n in range(MOST_CALLERS + 10):
        rates.acquire(f"192.0.2.1 {n}")
    assert MOST_CALLERS == rates.callers()
    rates.acquire("2001:db8::1")
    with pytest.raises(RateLimited):
        rates.acquire("2001:db8::ffff:2")
    rates.acquire("2001:db8:0:1::1")
    rates.acquire("::ffff:192.0.2.7")  # as a listener for both kinds tells of IPv4
    rates.acquire("::ffff:192.0.2.8")
    with pytest.raises(RateLimited):
        rates.acquire("192.0.2.7")


def test_a_steady_caller_at_the_rate_is_never_refused() -> None:
    """And one a little above it is, once the burst is used up."""
    clock = FakeClock()
    rates = RateLimiter(10, 3, clock)
    for _ in range(1000):
        rates.acquire("steady")
        clock.advance(0.1001)

    taken = 0
    with suppress(RateLimited):
        for _ in range(1000):
            rates.acquire("hasty")
            clock.advance(0.09)
            taken += 1
    assert 15 < taken < 30


def test_a_patient_caller_gets_its_turn_in_the_line() -> None:
    """Each request waits one interval longer; one that would wait too long changes nothing."""
    clock = FakeClock()
    rates = RateLimiter(2, 2, clock)
    waits = [rates.acquire("a", patience_s=1.5) for _ in range(5)]
    assert waits == pytest.approx([0, 0, 0.5, 1.0, 1.5])
    for _ in range(10):
        with pytest.raises(RateLimited) as refused:
            rates.acquire("a", patience_s=1.5)
    assert 1 == refused.value.retry_after_s
    clock.advance(0.5)
    assert rates.acquire("a", patience_s=1.5) == pytest.approx(1.5)


def test_callers_do_not_count_for_each_other() -> None:
    """Each has a burst of its own."""
    rates = RateLimiter(1, 2, FakeClock())
    for _ in range(2):
        rates.acquire("a")
        rates.acquire("b")
    for caller in ("a", "b"):
        with pytest.raises(RateLimited):
            rates.acquire(caller)
