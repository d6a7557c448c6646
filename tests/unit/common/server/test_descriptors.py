"""How many connections and threads a descriptor limit bears."""

import resource

import pytest

from common.errors import ConfigError
from common.server import descriptors
from common.server.serve import MAX_CONNECTIONS, SPARE_THREADS, Serving, within_descriptors

THREADS = 256 + SPARE_THREADS


@pytest.mark.parametrize("limit", [200, 256, 512, 1024, 1500, 4096, 5000, 10**6])
def test_what_is_shared_out_fits_the_limit(limit: int) -> None:
    """Idle connections leave room for requests, and each request for its connection."""
    connections, threads = descriptors.share(limit, MAX_CONNECTIONS, THREADS)

    assert 0 < threads <= THREADS
    assert threads < connections <= MAX_CONNECTIONS
    assert descriptors.needed(connections, threads) <= limit


def test_a_high_limit_changes_nothing() -> None:
    """With room for all, all is as it was asked for."""
    wanted = descriptors.needed(MAX_CONNECTIONS, THREADS)
    assert (MAX_CONNECTIONS, THREADS) == descriptors.share(wanted, MAX_CONNECTIONS, THREADS)
    assert (MAX_CONNECTIONS, THREADS) != descriptors.share(wanted - 1, MAX_CONNECTIONS, THREADS)


@pytest.mark.parametrize(
    ("limits", "wanted", "expected", "is_set"),
    [
        ((1024, 1024), 4000, 1024, None),
        ((1024, 9000), 4000, 4000, (4000, 9000)),
        ((1024, 2000), 4000, 2000, (2000, 2000)),
        ((256, resource.RLIM_INFINITY), 4000, 4000, (4000, resource.RLIM_INFINITY)),
        ((resource.RLIM_INFINITY, resource.RLIM_INFINITY), 4000, 4000, None),
        ((9000, 9000), 4000, 9000, None),
    ],
)
def test_the_limit_is_raised_as_far_as_it_may_be(
    monkeypatch: pytest.MonkeyPatch,
    limits: tuple[int, int],
    wanted: int,
    expected: int,
    is_set: tuple[int, int] | None,
) -> None:
    """Never lowered."""
    told: list[tuple[int, int]] = []
    monkeypatch.setattr(resource, "getrlimit", lambda _which: limits)
    monkeypatch.setattr(resource, "setrlimit", lambda _which, both: told.append(both))

    assert expected == descriptors.raise_limit(wanted)
    assert ([is_set] if is_set else []) == told


def test_a_limit_that_cannot_be_raised_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on macOS, where a lower limit of the kernel holds."""

    def refuse(*_: object) -> None:
        raise ValueError("not so many")

    monkeypatch.setattr(resource, "getrlimit", lambda _which: (256, resource.RLIM_INFINITY))
    monkeypatch.setattr(resource, "setrlimit", refuse)
    assert 256 == descriptors.raise_limit(4000)


def test_a_server_takes_what_its_limit_bears(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fewer threads are fewer requests in hand; too few descriptors end the start."""
    asked = Serving("127.0.0.1", 0, THREADS, 1, max_in_flight=256)
    monkeypatch.setattr(descriptors, "raise_limit", lambda _wanted: 10**6)
    assert within_descriptors(asked) is asked
    monkeypatch.setattr(descriptors, "raise_limit", lambda _wanted: 1024)
    low = within_descriptors(asked)
    assert low.max_in_flight == low.threads - SPARE_THREADS < 256
    monkeypatch.setattr(descriptors, "raise_limit", lambda _wanted: 150)
    with pytest.raises(ConfigError, match="ulimit -n"):
        within_descriptors(asked)
