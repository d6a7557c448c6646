"""Replicas of an entry load a version one after the other, and none waits for ever."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from common.config import Inside
from common.errors import DeadlineExceeded, Unavailable
from common.http_client import NotConnected
from common.internal_auth import InternalAuth
from common.wire import encode
from devtools.fake_clock import FakeClock
from search import turns
from search.index_versions import IndexVersions
from search.manifest import Current, VersionRef, write_current
from search.messages import Info
from search.turns import LOOKS, Turns
from tests.unit.fake_http import Answer, FakeHttp, failing, saying
from tests.unit.indexing import folders_in, write_version

ONE, TWO, THREE = (VersionRef(f"v00000{n}", f"digest of {n}") for n in (1, 2, 3))
FIRST, SECOND = "search:1", "search:2"
RELOAD_S = 2.0
Replica = Callable[[int], Turns]


def holding(named: VersionRef, refused: str = "") -> Answer:
    """What a replica answers that holds a version."""
    return saying(encode(Info(named.version, "s", "clip", 2, 4, [0], 1, named.sha256, refused)))


@pytest.fixture
def clock() -> FakeClock:
    """The clock of the replica."""
    return FakeClock()


@pytest.fixture
def http(monkeypatch: pytest.MonkeyPatch) -> FakeHttp:
    """Two replicas that hold version 1."""
    http = FakeHttp({FIRST: holding(ONE), SECOND: holding(ONE)}, "/none")
    monkeypatch.setattr(turns, "HttpClient", lambda _inside: http.client)
    return http


@pytest.fixture
def replica(tmp_path: Path, clock: FakeClock) -> Replica:
    """The turns of a replica by its number in the entry."""
    inside = InternalAuth(Inside(), tmp_path)
    return lambda number: Turns([FIRST, SECOND][:number], RELOAD_S, inside, clock)


def test_the_first_replica_asks_nobody(http: FakeHttp, replica: Replica) -> None:
    """It loads at once."""
    assert replica(0).has_come(Current(TWO, ONE))
    assert http.sent == []


def test_a_replica_waits_for_all_before_it(http: FakeHttp, replica: Replica) -> None:
    """Until each has the version."""
    third = replica(2)
    assert not third.has_come(Current(TWO, ONE))
    http.answers[FIRST] = holding(TWO)
    assert not third.has_come(Current(TWO, ONE))
    http.answers[SECOND] = holding(TWO)

    assert third.has_come(Current(TWO, ONE))
    assert http.is_closed


@pytest.mark.parametrize(
    ("answer", "waits"),
    [
        (holding(TWO), False),
        (holding(THREE), False),
        (holding(ONE, refused=TWO.sha256), False),
        (failing(NotConnected("down")), False),
        (failing(Unavailable("no index is loaded", "no_index")), False),
        (saying(b"nonsense"), False),
        (holding(ONE), True),
        (holding(VersionRef(TWO.version, "made anew")), True),
        (failing(DeadlineExceeded("it loads, or hangs")), True),
    ],
    ids=["taken", "newer", "refused", "down", "empty", "nonsense", "old", "anew", "silent"],
)
def test_what_a_replica_waits_for(
    http: FakeHttp, replica: Replica, answer: Answer, waits: bool
) -> None:
    """For what has still to load, or may be loading; for nothing else."""
    http.answers[FIRST] = answer

    assert waits is not replica(1).has_come(Current(TWO, ONE))


def test_on_the_way_back_the_newer_version_is_waited_for(http: FakeHttp, replica: Replica) -> None:
    """After a rollback, a replica with the version from which all go back has still to load."""
    http.answers[FIRST] = holding(TWO)
    assert not replica(1).has_come(Current(ONE, TWO))

    http.answers[FIRST] = holding(ONE)
    assert replica(1).has_come(Current(ONE, TWO))


def test_a_replica_waits_for_a_limited_time(
    http: FakeHttp, replica: Replica, clock: FakeClock
) -> None:
    """For each before it, and anew for each version. So no two that wait load at the same time."""
    second, third = replica(1), replica(2)
    both = [second, third]
    assert [False, False] == [turns.has_come(Current(TWO, ONE)) for turns in both]
    clock.advance(LOOKS * RELOAD_S - 1)
    assert [False, False] == [turns.has_come(Current(TWO, ONE)) for turns in both]
    clock.advance(1)
    assert [True, False] == [turns.has_come(Current(TWO, ONE)) for turns in both]
    clock.advance(LOOKS * RELOAD_S)
    assert third.has_come(Current(TWO, ONE))
    assert [False, False] == [turns.has_come(Current(THREE, TWO)) for turns in both]


def test_only_what_has_to_be_loaded_beside_another_version_needs_a_turn(tmp_path: Path) -> None:
    """At the start nobody waits, and the way back to a version in memory needs no turn either."""
    folders = folders_in(tmp_path)
    asked: list[VersionRef] = []
    one, two = (
        write_version(folders, f"v00000{n}", np.eye(4, dtype=np.float32)).named for n in (1, 2)
    )

    def may_load(current: Current) -> bool:
        asked.append(current.now)
        return len(asked) > 1

    versions = IndexVersions(folders, range, 1.0, may_load=may_load)
    for current in (Current(one), Current(two, one), Current(two, one), Current(one, two)):
        write_current(folders, current)
        versions.refresh()
        in_use = versions.newest().manifest.version
        assert in_use == ("v000001" if len(asked) < 2 else current.now.version)

    assert [two, two] == asked
