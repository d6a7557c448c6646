"""The programs that make the load, against services that run."""

import itertools
import json
from functools import partial
from pathlib import Path

import pytest

from devtools import loads
from devtools.loads import Measured
from devtools.services import Cluster, metric


def test_wrk_sends_bodies_of_any_bytes_once_or_again(services: Cluster, wrk: Path) -> None:
    """With too few bodies what is sent after the last is refused, unless they begin anew."""
    url = f"http://{services.middle.address}/search"
    bodies = [b'{"text": "red",\n"k": 1}', b'{"text": "green"\r\n}\n'] * 2

    again = loads.wrk(url, bodies, wrk, 1, clients=4, again=True)
    once = loads.wrk(url, bodies, wrk, 1, clients=4)

    assert again.errors == 0
    assert again.rate > 4
    assert (once.errors or 0) > 0


def test_ab_sends_one_request_for_so_long(services: Cluster, wrk: Path) -> None:
    """What it counts is what the server counted, but for those under way at the end."""
    body = wrk / "body.json"
    body.write_text('{"text": "blue"}')
    counted = 'requests_total{route="/search",service="middle",status="200"}'
    before = metric(services.middle, counted)

    run = loads.ab(f"http://{services.middle.address}/search", 1, body, clients=4)

    assert run.errors == 0
    assert 0 <= metric(services.middle, counted) - before - run.answers <= 4
    assert run.seconds == pytest.approx(1, rel=0.3)
    assert 0 < run.p50_ms <= run.p99_ms


def test_what_is_refused_is_an_error(services: Cluster, wrk: Path) -> None:
    """To ab as to wrk: none of it counts as an answer."""
    body = wrk / "body.json"
    body.write_text("{}")
    url = f"http://{services.middle.address}/search"
    by_wrk = loads.wrk(url, [b"{}"], wrk, 1, clients=4, again=True)

    for run in (loads.ab(url, 1, body, clients=4), by_wrk):
        assert run.answers == 0
        assert (run.errors or 0) > 0


def test_a_loop_counts_items_and_times_calls() -> None:
    """At least one call is made; the rate is that of the items in all of them."""
    called: list[int] = []
    measured = loads.loop(partial(called.append, 1), 8, 0)

    assert [1] == called
    assert 8000 / measured.p50_ms == pytest.approx(measured.rate)


def test_a_run_is_told_in_a_line() -> None:
    """Errors are those of requests: a loop in this process has none."""
    assert "2 a second, p50 3 ms, p99 4 ms" == str(Measured(4, 2, 3, 4))
    assert str(Measured(4, 2, 3, 4, 5)).endswith("p99 4 ms, 5 errors")


def test_the_peak_is_measured_once_warm(services: Cluster, wrk: Path) -> None:
    """Each body is sent once: those of the warm-up do not come again."""
    sent = loads.bodies(f"a photo of square {number}" for number in itertools.count())
    rate = loads.peak_rate(f"http://{services.middle.address}/search", sent, wrk, 1)

    assert rate > 0
    assert 2 * loads.MAX_PER_S == int(json.loads(next(sent))["text"].split()[-1])
