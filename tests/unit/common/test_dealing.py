"""Shards are dealt to servers evenly, and few move when there is one server more or less."""

import pytest

from common.settings.dealing import deal


@pytest.mark.parametrize("shards", [1, 5, 12, 24, 60, 213])
@pytest.mark.parametrize("servers", [1, 2, 3, 4, 7, 21])
def test_each_shard_has_one_server(servers: int, shards: int) -> None:
    """No server has two more than another; one server has them all."""
    dealt = deal(servers, shards)
    sizes = [len(mine) for mine in dealt]

    assert list(range(shards)) == sorted(shard for mine in dealt for shard in mine)
    assert servers == len(dealt)
    assert max(sizes) - min(sizes) <= 1


@pytest.mark.parametrize(("shards", "least", "moved"), [(12, 3, 3), (24, 6, 9), (60, 15, 16)])
def test_few_shards_move_to_a_fourth_server(shards: int, least: int, moved: int) -> None:
    """Not many more than it gets; dealt in turn, three of four would move."""
    three, four = deal(3, shards), deal(4, shards)
    stay = sum(len(set(before) & set(after)) for before, after in zip(three, four, strict=False))

    assert least == len(four[3])
    assert moved == shards - stay
