"""The shares of a queue that kinds of device take: the slow help the fast, and delay nobody."""

import pytest

from common.device_shares import BATCHES, MIN_BATCHES, TRY_AGAIN_S, DeviceShares
from devtools.fake_clock import FakeClock


def shares(clock: FakeClock | None = None, **workers: int) -> DeviceShares:
    return DeviceShares(workers or {"cuda": 1, "cpu": 1}, clock or FakeClock())


def measure(found: DeviceShares, kind: str, item_s: float, batches: int = MIN_BATCHES) -> None:
    """Let a kind run batches of ten items."""
    for _ in range(batches):
        found.observe(kind, 10, 10 * item_s)


def test_a_kind_alone_takes_all() -> None:
    """Measured or not."""
    found = shares(cpu=4)
    assert (64, 0) == (found.most("cpu", 64), found.most("cpu", 0))
    measure(found, "cpu", 0.1)
    assert (64, 0) == (found.most("cpu", 64), found.most("cpu", 0))


def test_a_slow_kind_takes_what_it_computes_meanwhile() -> None:
    """At a tenth of the speed a tenth of the queue, rounded down; the fast one takes all."""
    found = shares()
    measure(found, "cuda", 0.001)
    measure(found, "cpu", 0.01)

    assert [0, 0, 1, 6] == [found.most("cpu", waiting) for waiting in (1, 9, 10, 64)]
    assert [1, 64] == [found.most("cuda", waiting) for waiting in (1, 64)]


def test_all_workers_of_faster_kinds_count() -> None:
    """Two of them need half the time, in which a slow one computes half as much."""
    found = shares(cuda=2, gpu=1, cpu=3)
    for kind, item_s in (("cuda", 0.001), ("gpu", 0.002), ("cpu", 0.01)):
        measure(found, kind, item_s)

    assert [100, 25, 4] == [found.most(kind, 100) for kind in ("cuda", "gpu", "cpu")]


def test_the_measured_speed_counts_and_not_the_order() -> None:
    """A list may have the slow device first."""
    found = shares(cpu=1, cuda=1)
    assert (64, 1) == (found.most("cpu", 64), found.most("cuda", 64))
    measure(found, "cpu", 0.01)
    measure(found, "cuda", 0.001)

    assert (6, 64) == (found.most("cpu", 64), found.most("cuda", 64))


def test_a_kind_of_unknown_speed_takes_one_item() -> None:
    """But the first of the list, which is the fastest as long as nothing else is known."""
    found = shares()
    measure(found, "cuda", 0.001)
    measure(found, "cpu", 0.1, batches=MIN_BATCHES - 1)

    assert (1, 0) == (found.most("cpu", 64), found.most("cpu", 0))
    assert 64 == found.most("cuda", 64)


def test_a_stalled_batch_is_not_the_speed() -> None:
    """The best of the last batches is, until all of them are slow."""
    found = shares()
    measure(found, "cpu", 0.01)
    measure(found, "cuda", 0.001)
    measure(found, "cuda", 5.0, batches=BATCHES - 1)
    assert 64 == found.most("cuda", 64)

    measure(found, "cuda", 5.0, batches=1)
    assert (0, 64) == (found.most("cuda", 64), found.most("cpu", 64))


@pytest.mark.parametrize(("waiting", "expected"), [(0, 0), (5, 1)])
def test_a_kind_that_took_nothing_for_long_is_tried_again(waiting: int, expected: int) -> None:
    """With one item."""
    clock = FakeClock()
    found = shares(clock)
    measure(found, "cuda", 0.001)
    measure(found, "cpu", 1.0)
    clock.advance(TRY_AGAIN_S)
    assert 0 == found.most("cpu", waiting)

    clock.advance(1)
    assert expected == found.most("cpu", waiting)
    found.observe("cpu", 1, 1.0)
    assert 0 == found.most("cpu", waiting)
