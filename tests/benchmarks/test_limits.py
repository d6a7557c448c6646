"""The limits of a search, against the tiny model and its index."""

from functools import partial
from pathlib import Path

import msgspec
import pytest

from benchmarks import drivers, embedding, limits
from benchmarks.drivers import Measured
from benchmarks.figures import Contender, take_turns
from benchmarks.rates import Tower
from common.config import Inference, parse
from common.errors import ConfigError
from devtools.collection import Collection
from devtools.services import Cluster

HOW = Inference(clip="tiny", mclip=None)


def test_http_is_held_against_the_model_of_the_same_round() -> None:
    """Shares are those of each round; latency is what HTTP adds; what is missing is left out."""
    wide = [Measured(rate, 90, 99, 0) for rate in (80.0, 9.0, 90.0)]
    bare = [Measured(rate, 9, 9, 0) for rate in (100.0, 10.0, 100.0)]
    runs = {
        "text, bare loop": bare,
        "text, HTTP, 64 connections": wide,
        "text, in process": [Measured(0, 3, 0, 0)] * 3,
        "text, HTTP, 1 connection": [Measured(0, 4.5, 0, 0)] * 3,
        "image, bare loop": bare,
    }

    rates, over_http, share, added = embedding.figures(runs)

    assert (100, 80) == (rates.value, over_http.value)
    assert (0.9, True) == (share.value, share.is_met)
    assert (1.5, True) == (added.value, added.is_met)


def test_a_loop_counts_items_and_times_calls() -> None:
    """At least one call is made; the rate is that of the items in all of them."""
    called: list[int] = []
    measured = embedding.timed(partial(called.append, 1), 8, 0)

    assert [1] == called
    assert 8000 / measured.p50_ms == pytest.approx(measured.requests_per_s)


@pytest.mark.parametrize("tower", embedding.TOWERS)
def test_every_way_to_embed_runs(
    tower: Tower, collection: Collection, wrk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a loop, one by one, and over HTTP, where each text and photo is answered with 200."""
    for name, value in {"TRY_S": 0.01, "SECONDS": 1, "WARM_UP_S": 1}.items():
        monkeypatch.setattr(embedding, name, value)
    monkeypatch.setattr(embedding, "WIDE_S", {tower: 1})
    contenders = embedding.contenders(HOW, collection.folder, wrk)
    chosen = [one for one in contenders if one.name.startswith(tower)]

    runs = take_turns(chosen, 1)

    assert 4 == len(runs)
    assert all(one.requests_per_s > 0 and one.errors == 0 for (one,) in runs.values())
    assert 4 == len(embedding.figures(runs))


def test_hnswlib_searches_all_shards_of_an_index(collection: Collection) -> None:
    """The files that a search server would load, in a loop; without an index it says so."""
    queries = collection.model().encode_text(["red", "green", "blue", "a photo"] * 32)
    config = parse(msgspec.json.encode(collection.config))
    contender = limits.hnswlib_alone(config, collection.folder, queries)

    assert "hnswlib alone, 2 shards" == contender.name
    with contender.start() as load:
        assert load().requests_per_s > 0
    absent = limits.hnswlib_alone(config, collection.folder / "nothing", queries)
    assert {} == take_turns([absent], 1)


def test_what_cannot_be_had_takes_no_turn(capsys: pytest.CaptureFixture[str]) -> None:
    """The reason is printed, and the others are measured."""

    def fail() -> None:
        raise ConfigError("there is no such thing")

    missing = Contender("missing", lambda: fail())  # type: ignore[arg-type, return-value]

    assert {} == take_turns([missing], 1)
    assert "left out: missing: there is no such thing" in capsys.readouterr().out


def test_wrk_sends_bodies_of_any_bytes_once_or_again(services: Cluster, wrk: Path) -> None:
    """With too few bodies what is sent after the last is refused, unless they begin anew."""
    url = f"http://{services.middle.address}/search"
    bodies = [b'{"text": "red",\n"k": 1}', b'{"text": "green"\r\n}\n'] * 2

    again = drivers.wrk_bodies(url, bodies, wrk, connections=4, seconds=1, again=True)
    once = drivers.wrk_bodies(url, bodies, wrk, connections=4, seconds=1)

    assert again.errors == 0
    assert again.requests_per_s > 4
    assert once.errors > 0
