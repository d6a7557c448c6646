"""What the tests of common share."""

import random

import pytest


@pytest.fixture
def no_chance(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the replicas that are left the first two are compared, not two at random."""
    monkeypatch.setattr(random, "sample", lambda left, count: left[:count])
