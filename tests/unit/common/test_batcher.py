"""The batcher: together what waits together, and every item settled exactly once."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import copy_context

import pytest

from common.batcher import Batcher, Run
from common.errors import DeadlineExceeded, Overloaded, Unavailable
from common.gather import Gather
from common.isolating import isolating
from common.metrics import BATCH_ITEMS
from common.request_context import CONTEXT, RequestContext
from devtools.fake_clock import FakeClock
from tests.unit.gates import SOON_S, Gate


@contextmanager
def batching(*runs: Run, max_batch: int = 64, max_queue: int = 64) -> Iterator[Batcher]:
    batcher = Batcher("test", {"cpu": runs}, max_batch, max_queue)
    batcher.start()
    try:
        yield batcher
    finally:
        batcher.close()


def soon() -> float:
    return time.monotonic() + SOON_S


def outcomes() -> dict[str, float]:
    names = ("ok", "failed", "expired", "abandoned", "refused")
    return {name: BATCH_ITEMS.labels("test", name)._value.get() for name in names}


def test_what_waits_while_a_batch_runs_goes_together() -> None:
    """The first item goes at once and alone; those that come meanwhile make the next batch."""
    gate = Gate()
    with batching(gate) as batcher:
        gather = Gather(4, soon())
        batcher.submit(0, gather, 0)
        assert gate.entered.acquire(timeout=SOON_S)
        for item in (1, 2, 3):
            batcher.submit(item, gather, item)
        gate.go.release(2)

        assert gather.wait() == [0, 10, 20, 30]
    assert gate.batches == [[0], [1, 2, 3]]


def test_a_batch_has_a_limit() -> None:
    """No more than max_batch items are taken at a time, in the order they came."""
    gate = Gate()
    with batching(gate, max_batch=2) as batcher:
        gather = Gather(4, soon())
        batcher.submit(0, gather, 0)
        assert gate.entered.acquire(timeout=SOON_S)
        for item in (1, 2, 3):
            batcher.submit(item, gather, item)
        gate.go.release(3)
        gather.wait()
    assert gate.batches == [[0], [1, 2], [3]]


def test_a_full_queue_refuses_and_says_so() -> None:
    """An item over the limit is refused at once, the others are not touched."""
    gate = Gate()
    before = outcomes()
    with batching(gate, max_queue=1) as batcher:
        gather = Gather(2, soon())
        batcher.submit(0, gather, 0)
        assert gate.entered.acquire(timeout=SOON_S)
        batcher.submit(1, gather, 1)
        refused = Gather(1, soon())
        batcher.submit(2, refused)
        with pytest.raises(Overloaded, match="full"):
            refused.first()
        gate.go.release(2)

        assert gather.wait() == [0, 10]
    assert outcomes()["refused"] - before["refused"] == 1


def test_expired_and_abandoned_items_are_not_run() -> None:
    """An item whose deadline passed in the queue, or that nobody waits for, is dropped."""
    gate = Gate()
    before = outcomes()
    with batching(gate) as batcher:
        first = Gather(1, soon())
        batcher.submit(0, first)
        assert gate.entered.acquire(timeout=SOON_S)
        late, left = Gather(1, time.monotonic() - 1), Gather(1, soon())
        batcher.submit(1, late)
        batcher.submit(2, left)
        left.abandoned = True
        gate.go.release(1)

        assert first.first() == 0
        with pytest.raises(DeadlineExceeded):
            late.first()
    assert gate.batches == [[0]]
    after = outcomes()
    assert tuple(after[n] - before[n] for n in ("ok", "expired", "abandoned")) == (1, 1, 1)


def test_a_batch_that_fails_fails_its_items_and_not_the_worker() -> None:
    """The error reaches everyone who waits, and the next item is served."""

    def run(items: Sequence[int], _deadline: float) -> list[int]:
        if 13 in items:
            raise ValueError("thirteen")
        return list(items)

    with batching(run) as batcher:
        bad, good = Gather(1, soon()), Gather(1, soon())
        batcher.submit(13, bad)
        with pytest.raises(ValueError, match="thirteen"):
            bad.first()
        batcher.submit(1, good)

        assert good.first() == 1


def test_too_few_results_are_an_error_not_a_mix_up() -> None:
    """A run that returns fewer results than items settles none of them wrongly."""
    with batching(lambda items, _deadline: items[1:]) as batcher:
        gather = Gather(1, soon())
        batcher.submit(1, gather)
        with pytest.raises(RuntimeError, match="0 results for 1 items"):
            gather.first()


def test_one_poison_item_fails_alone() -> None:
    """With `isolating`, the items of a failing batch are tried one by one."""

    def run(items: Sequence[int], _deadline: float) -> list[int]:
        if 13 in items:
            raise ValueError("thirteen")
        return [10 * item for item in items]

    results = isolating(run)([1, 13, 2], soon())

    assert [results[0], results[2]] == [10, 20]
    assert isinstance(results[1], ValueError)


def test_a_device_is_never_entered_twice_and_all_take_from_one_queue() -> None:
    """Two workers share the queue, each runs one batch at a time."""
    gates = Gate(), Gate()
    with batching(*gates, max_batch=1) as batcher:
        gather = Gather(4, soon())
        for item in range(4):
            batcher.submit(item, gather, item)
        assert gates[0].entered.acquire(timeout=SOON_S)
        assert gates[1].entered.acquire(timeout=SOON_S)
        assert (len(gates[0].batches), len(gates[1].batches)) == (1, 1)
        for gate in gates:
            gate.go.release(4)

        assert gather.wait() == [0, 10, 20, 30]


def test_closing_finishes_what_is_queued_and_takes_no_more() -> None:
    """close() ends the workers after the queue is empty."""
    with batching(lambda items, _deadline: items) as batcher:
        gather = Gather(8, soon())
        for item in range(8):
            batcher.submit(item, gather, item)
    assert list(range(8)) == gather.wait()
    late = Gather(1, soon())
    batcher.submit(9, late)
    with pytest.raises(Unavailable):
        late.first()


@pytest.mark.parametrize("refuse_late", [True, False])
def test_what_would_wait_too_long_is_refused_at_once_where_that_is_asked_for(
    refuse_late: bool,
) -> None:
    """By the time that batches took; those with time enough are queued all the same."""
    clock = FakeClock(time.monotonic())
    gate = Gate()

    def slow(items: Sequence[int], deadline: float) -> Sequence[int]:
        clock.advance(1.0)
        return gate(items, deadline)

    batcher = Batcher("test", {"cpu": [slow]}, 1, 64, refuse_late=refuse_late, now=clock)
    batcher.start()
    patient = Gather(4, clock() + 60.0)
    for item in range(4):  # the time of the first is known once the second runs
        batcher.submit(item, patient, item)
    gate.go.release(1)
    for _ in range(2):
        assert gate.entered.acquire(timeout=SOON_S)
    hasty = Gather(1, clock() + 0.5)
    batcher.submit(9, hasty)
    gate.go.release(3)
    batcher.close()

    assert patient.wait() == [0, 10, 20, 30]
    assert type(hasty.wait()[0]) is (Overloaded if refuse_late else DeadlineExceeded)


def test_a_batch_works_for_the_requests_of_all_its_items() -> None:
    """Logs of a batch name every request that waits for it."""
    gate = Gate()
    seen: list[str] = []

    def run(items: Sequence[int], deadline: float) -> Sequence[int]:
        seen.append(CONTEXT.get().request_ids)
        return gate(items, deadline)

    with batching(run) as batcher:
        for item, name in enumerate("abc"):
            context = copy_context()
            context.run(CONTEXT.set, RequestContext(name))
            batcher.submit(item, context.run(Gather, 1, soon()))
            if not item:
                assert gate.entered.acquire(timeout=SOON_S)
        gate.go.release(2)

    assert seen == ["a", "b,c"]
