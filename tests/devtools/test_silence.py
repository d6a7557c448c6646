"""What the ticking thread sees of others that hold Python's lock."""

import ctypes

from devtools.silence import longest_gap_s, ticking

HELD_S = 0.05
HOLDING, FREE = ctypes.PyDLL(None), ctypes.CDLL(None)
"""The C library, called with Python's lock and without it."""


def test_a_thread_that_holds_the_lock_is_seen() -> None:
    """The gap is as long as the call, or longer: no machine is too slow for this test."""
    with ticking() as times:
        HOLDING.usleep(int(HELD_S * 10**6))

    assert longest_gap_s(times) >= HELD_S


def test_others_tick_beside_a_thread_that_lets_them() -> None:
    """It sleeps in C without the lock, until there have been ticks meanwhile."""
    with ticking() as times:
        before = len(times)
        while len(times) < before + 3:
            FREE.usleep(1000)

    assert sorted(times) == times
    assert longest_gap_s(times) < times[-1] - times[0]


def test_the_longest_gap_is_between_neighbours() -> None:
    """Of too few ticks there is none."""
    assert 3 == longest_gap_s([1, 2, 5, 7])
    assert 0 == longest_gap_s([1])
