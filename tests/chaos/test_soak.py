"""The short form of what `make chaos` does for long."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from devtools.collection import Collection
from devtools.replica_cluster import Replicated, replicated
from tests.chaos.soak import rolling_restarts, soak


@pytest.fixture(scope="module")
def services(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Replicated]:
    """Two shards of two replicas."""
    folder: Path = tmp_path_factory.mktemp("collection")
    with replicated(Collection(folder, images=120, shards=2), 2, 2) as running:
        yield running


def test_no_answer_is_wrong_whatever_happens(services: Replicated) -> None:
    """Row 21: random faults; answers are right or honestly degraded, and nothing is left open."""
    soaked = soak(services, seconds=20, rate=30)

    assert [] == soaked.outcomes.wrong
    assert soaked.outcomes.counts["full"] > 0
    assert max(soaked.descriptors.values()) < 40, soaked.descriptors


def test_replicas_are_restarted_in_turn_without_an_error(services: Replicated) -> None:
    """Row 10: SIGTERM, start, next, under load."""
    outcomes = rolling_restarts(services, rounds=1, rate=30)

    assert [] == outcomes.wrong
    assert {"full"} == set(outcomes.counts)
