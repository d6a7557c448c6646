"""The open loop, against services that run."""

import json
import os
import signal
import threading
import time

import numpy as np

from devtools import open_loop
from devtools.services import Cluster, free_ports
from devtools.words import all_queries

PAUSE_S = 0.5


def test_arrivals_come_at_random_at_the_rate_that_was_asked_for() -> None:
    """As many as the rate says, in order, the gaps as uneven as those of a Poisson process."""
    due = open_loop.draw(100, 50, all_queries())
    moments = np.array([one.at_s for one in due])

    assert 5000 == len({one.text for one in due})
    assert (np.diff(moments) >= 0).all()
    assert 0 <= moments[0]
    assert moments[-1] < 50
    assert 0.9 < np.diff(moments).std() / np.diff(moments).mean() < 1.1
    assert due == open_loop.draw(100, 50, all_queries())
    assert due != open_loop.draw(100, 50, all_queries(), seed=1)


def test_every_query_has_its_reply(services: Cluster) -> None:
    """Replies are in the order of their queries; the bodies of some are kept, spread over all."""
    due = open_loop.draw(40, 1.5, all_queries())
    replies = open_loop.send(services.middle.address, due, 3, kept=6)

    assert due == [open_loop.Due(one.at_s, one.text) for one in replies]
    assert all(one.ok and one.latency_ms > 0 for one in replies)
    kept = [number for number, one in enumerate(replies) if one.body]
    assert [9, 19, 29, 39, 49, 59] == kept
    assert {3} == {len(json.loads(replies[number].body)["hits"]) for number in kept}


def test_a_pause_makes_late_all_that_was_due_in_it(services: Cluster) -> None:
    """Latency counts from when a query was due: a stopped service shows in many, not in one."""
    pid = services.inference.process.pid
    due = open_loop.draw(40, 2, all_queries())

    def pause() -> None:
        time.sleep(PAUSE_S)  # the time that is measured, not a wait for something
        os.kill(pid, signal.SIGSTOP)
        time.sleep(PAUSE_S)
        os.kill(pid, signal.SIGCONT)

    pausing = threading.Thread(target=pause)
    pausing.start()
    replies = open_loop.send(services.middle.address, due, 3)
    pausing.join()

    late = [one for one in replies if one.latency_ms > 100 * PAUSE_S]
    assert max(one.latency_ms for one in replies) > 500 * PAUSE_S
    assert len(late) > 0.5 * PAUSE_S * 40
    assert all(one.ok for one in replies)


def test_a_generator_that_is_late_itself_counts_it() -> None:
    """Moments that have gone by before anything can be sent are part of the latency."""
    (port,) = free_ports(1)
    due = [open_loop.Due(-3.0, "a"), open_loop.Due(-2.0, "b")]

    first, second = open_loop.send(f"127.0.0.1:{port}", due, 3)

    assert first.latency_ms > 3000
    assert second.latency_ms > 2000


def test_refusals_and_dead_servers_are_errors(services: Cluster) -> None:
    """An answer other than 200 is an error, and so is a server that is not there."""
    due = [open_loop.Due(0, ""), open_loop.Due(0.01, "a red square")]
    (port,) = free_ports(1)

    assert [False, True] == [one.ok for one in open_loop.send(services.middle.address, due, 3)]
    assert [False, False] == [one.ok for one in open_loop.send(f"127.0.0.1:{port}", due, 3)]


def test_a_load_may_follow_another() -> None:
    """Queries that are shifted as a whole keep their distances, and their texts."""
    due = open_loop.draw(10, 1, all_queries())
    after = open_loop.later(due, 2)

    assert [one.text for one in due] == [one.text for one in after]
    assert [one.at_s + 2 for one in due] == [one.at_s for one in after]
    assert after[0].at_s >= 2


def test_replies_are_told_apart_by_when_they_were_due() -> None:
    """However long they took."""
    replies = [open_loop.Reply("a", at_s, 9000, True, b"") for at_s in (0.5, 1.9, 2.0, 3.0)]
    before, after = open_loop.split(replies, 2.0)

    assert ([0.5, 1.9], [2.0, 3.0]) == ([a.at_s for a in before], [a.at_s for a in after])


def test_failures_count_with_their_time() -> None:
    """The rate is that of the answers."""
    replies = [open_loop.Reply("a", 0, ms, ok, b"") for ms, ok in ((1, True), (3, False))]
    run = open_loop.measured(replies, 0.5)

    assert (2, 2, 1) == (run.rate, run.p50_ms, run.errors)
    assert 0 == open_loop.measured([], 1).rate
