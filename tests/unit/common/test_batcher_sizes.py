"""Items of different sizes in a batcher: what is small does not wait for what is large."""

import threading
import time
from collections.abc import Sequence

from common.batcher import MAX_PASSES, Batcher
from common.gather import Gather
from devtools.fake_clock import FakeClock
from tests.unit.gates import SOON_S, Gate

LONG, SHORT = 514, 8


class Tower:
    """Takes a millisecond for each token of a padded batch, after it is let go; notes when."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.go = threading.Event()
        self.entered = threading.Event()
        self.batches: list[list[int]] = []
        self.ended_ms: dict[int, list[float]] = {LONG: [], SHORT: []}

    def __call__(self, tokens: list[int], _deadline: float) -> Sequence[int]:
        self.entered.set()
        assert self.go.wait(SOON_S)
        self.clock.advance(len(tokens) * max(tokens) / 1000)
        self.batches.append(tokens)
        for one in set(tokens):
            self.ended_ms.setdefault(one, []).append(round(1000 * (self.clock() - 1000)))
        return tokens

    def run(self, *waiting: int, max_size: int = 1024) -> None:
        """Run the items that come while the tower runs a first one of a token."""
        batcher = Batcher("sizes", {"cpu": [self]}, 64, 1024, max_size=max_size, now=self.clock)
        batcher.start()
        gather = Gather(len(waiting) + 1, self.clock() + 1e6)
        batcher.submit(1, gather, len(waiting), 1)
        assert self.entered.wait(SOON_S)
        for slot, tokens in enumerate(waiting):
            batcher.submit(tokens, gather, slot, tokens)
        self.go.set()
        batcher.close()
        assert [*waiting, 1] == gather.wait()


def test_short_texts_do_not_wait_for_a_long_one() -> None:
    """Kind F: of one text of 514 tokens and 63 of 8, the 63 are done after their own 504 ms."""
    tower = Tower()
    tower.run(LONG, *[SHORT] * 63)

    assert [[1], [SHORT] * 63, [LONG]] == tower.batches
    assert [1 + 63 * SHORT] == tower.ended_ms[SHORT]
    assert [1 + 63 * SHORT + LONG] == tower.ended_ms[LONG]


def test_long_texts_do_not_run_all_at_once() -> None:
    """Kind F: what comes while they run waits for two of them, not for eight."""
    tower = Tower()
    tower.run(*[500] * 8)

    assert [[1], *[[500, 500]] * 4] == tower.batches


def test_a_long_text_is_passed_over_a_few_times_only() -> None:
    """However many short ones there are."""
    tower = Tower()
    tower.run(LONG, *[SHORT] * 64 * 8, max_size=64 * SHORT)

    assert 1 + MAX_PASSES == tower.batches.index([LONG])


def test_a_worker_leaves_their_shares_to_others() -> None:
    """The first that is free takes half of what waits, as the other is soon free, too."""
    first, second = Gate(), Gate()
    batcher = Batcher("shares", {"cpu": [first, second]}, 64, 64, leaves_shares=True)
    batcher.start()
    gather = Gather(9, time.monotonic() + SOON_S)
    for item in (0, 1):
        batcher.submit(item, gather, item)
    for gate in (first, second):
        assert gate.entered.acquire(timeout=SOON_S)
    for item in range(2, 9):
        batcher.submit(item, gather, item)
    for gate in (first, second):
        gate.go.release()
        assert gate.entered.acquire(timeout=SOON_S)
    assert ([2, 3, 4, 5], [6, 7]) == (first.batches[1], second.batches[1])
    for gate in (first, second):
        gate.go.release(3)
    assert gather.wait() == [10 * item for item in range(9)]
    batcher.close()


def test_an_item_without_a_size_ends_no_worker() -> None:
    """An empty text has no token; what comes after it is answered, too."""
    batcher = Batcher("none", {"cpu": [lambda items, _deadline: items]}, 64, 64)
    batcher.start()
    for item in (0, 1):
        gather = Gather(1, time.monotonic() + SOON_S)
        batcher.submit(item, gather, 0, size=item)
        assert [item] == gather.wait()
    batcher.close()
