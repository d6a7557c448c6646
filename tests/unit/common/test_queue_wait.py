"""When an item is refused because it would wait for too long."""

import pytest

from common.queue_wait import QueueWait


@pytest.mark.parametrize(
    ("waiting", "left_s", "is_too_long"),
    [(8, 1.0, True), (8, 3.0, False), (0, 0.01, False), (80, 0.0, False), (80, -1.0, False)],
)
def test_an_item_may_wait_a_part_of_its_time(
    waiting: int, left_s: float, is_too_long: bool
) -> None:
    """Batches of 4 on 2 lanes took 1 s: 8 items wait 1 s. What is over is the queue's to drop."""
    wait = QueueWait(max_batch=4, lanes=2)
    wait.observe(1.0)

    assert wait.is_too_long(waiting, left_s) == is_too_long


def test_nothing_is_refused_before_a_batch_was_seen() -> None:
    """Nobody knows how long it takes."""
    assert not QueueWait(max_batch=1, lanes=1).is_too_long(1000, 0.001)


def test_a_stall_of_all_lanes_is_forgotten_with_the_first_batch_after_it() -> None:
    """Else a machine that stood still for seconds would answer 503 for seconds more."""
    wait = QueueWait(max_batch=4, lanes=2)
    for batch_s in (0.1, 0.1, 5.0, 5.0):
        wait.observe(batch_s)
    assert not wait.is_too_long(8, 1.0)  # the batch before the stall still counts
    wait.observe(5.0)
    assert wait.is_too_long(8, 1.0)
    wait.observe(0.1)
    assert not wait.is_too_long(8, 1.0)
