"""What choosing among replicas goes by."""

import random
from copy import copy

import pytest

from common.load_balancing import (
    BUDGET_CAP,
    DECAY_S,
    ENOUGH,
    RECENT,
    UNKNOWN_S,
    Budget,
    LatencyWindow,
    PeakEwma,
)
from common.upstream import HEDGE_SHARE

REQUESTS = 10_000
IN_FLIGHT = 3
"""Requests at a replica when it hangs."""


def test_an_estimate_rises_at_once() -> None:
    """A slow reply counts whole: the replica is avoided from then on."""
    latency = PeakEwma()
    latency.observe(0.01, now=0.0)
    latency.observe(2.0, now=0.0)

    assert latency.estimate_s(0.0) == pytest.approx(2.0)


def test_an_estimate_sinks_slowly_by_quick_replies() -> None:
    """One quick reply among slow ones does not make a quick replica."""
    latency = PeakEwma()
    latency.observe(1.0, now=0.0)
    latency.observe(0.0, now=0.0)

    assert latency.estimate_s(0.0) == pytest.approx(0.9)


def test_an_estimate_fades() -> None:
    """So a replica that was slow is tried again, though nothing new is known of it."""
    latency = PeakEwma()
    latency.observe(1.0, now=100.0)

    assert latency.estimate_s(100.0 + DECAY_S) == pytest.approx(1 / 2.71828, rel=1e-4)
    assert latency.estimate_s(100.0 + 10 * DECAY_S) < 0.001


def test_nothing_is_expected_of_a_new_replica() -> None:
    """It is asked before those that took time."""
    assert PeakEwma().estimate_s(50.0) == 0.0


def test_the_p98_is_a_guess_until_there_are_enough_times() -> None:
    """The first 19 change nothing."""
    window = LatencyWindow()
    for _ in range(ENOUGH - 1):
        window.observe(9.0)
    assert window.p98_s == UNKNOWN_S
    window.observe(9.0)
    assert window.p98_s == 9.0


def test_the_p98_is_that_of_the_last_times() -> None:
    """Of 200 from 1 to 200 it is the 197th; older ones are forgotten."""
    window = LatencyWindow()
    for _ in range(RECENT):
        window.observe(1000.0)
    for n in range(1, RECENT + 1):
        window.observe(float(n))
    assert window.p98_s == 197.0


def test_a_budget_starts_full_and_ends() -> None:
    """A quiet service may be asked again ten times, and then no more."""
    budget = Budget(0.0)

    assert [budget.spend() for _ in range(12)] == [True] * int(BUDGET_CAP) + [False] * 2


def test_a_budget_earns_its_share() -> None:
    """At a quarter, four requests earn one more."""
    budget = Budget(0.25)
    while budget.spend():
        pass
    for _ in range(3):
        budget.earn()
    assert not budget.spend()
    budget.earn()
    assert budget.spend()
    assert not budget.spend()


def test_a_budget_is_saved_up_to_its_cap() -> None:
    """A quiet day does not pay for a storm of retries."""
    budget = Budget(1.0)
    for _ in range(1000):
        budget.earn()

    assert sum(budget.spend() for _ in range(1000)) == BUDGET_CAP


@pytest.mark.parametrize("sigma", [0.3, 0.6, 1.0, 1.5])
def test_slow_requests_leave_hedges_for_a_replica_that_hangs(sigma: float) -> None:
    """Requests whose times vary much are hedged, and the budget is hardly ever used up."""
    chance = random.Random(1)
    window, budget = LatencyWindow(), Budget(HEDGE_SHARE)
    scarce = hedges = 0
    for _ in range(REQUESTS):
        budget.earn()
        took_s, hedged_s = (chance.lognormvariate(-4, sigma) for _ in range(2))
        if took_s > window.p98_s and budget.spend():
            hedges += 1
            took_s = min(took_s, window.p98_s + hedged_s)  # that of the other try is not seen
        window.observe(took_s)
        spare = copy(budget)
        scarce += not all(spare.spend() for _ in range(IN_FLIGHT))

    assert hedges > 0.01 * REQUESTS
    assert scarce < 0.03 * REQUESTS
