"""Grouping inputs by their sizes."""

from hypothesis import given
from hypothesis import strategies as st

from common.buckets import PADDING_SHARE, buckets


@given(st.lists(st.integers(1, 512), min_size=1, max_size=64), st.integers(1, 9))
def test_buckets_hold_every_input_once_and_little_padding(sizes: list[int], count: int) -> None:
    """Every place is in one bucket, from small to large, and no bucket is over a limit."""
    groups = buckets(sizes, count, 600)

    assert list(range(len(sizes))) == sorted(place for group in groups for place in group)
    assert sorted(sizes) == [sizes[place] for group in groups for place in group]
    for group in groups:
        padded = max(sizes[place] for place in group) * len(group)
        assert sum(sizes[place] for place in group) >= (1 - PADDING_SHARE) * padded
        assert len(group) <= count
        assert len(group) == 1 or padded <= 600


def test_inputs_of_one_size_stay_together_in_their_order() -> None:
    """Up to the limits; one that is too large for any bucket has its own."""
    assert buckets([7, 7, 7]) == [[0, 1, 2]]
    assert buckets([7, 7, 7], max_count=2) == [[0, 1], [2]]
    assert buckets([7, 7, 7], max_size=14) == [[0, 1], [2]]
    assert buckets([7, 7], max_size=3) == [[0], [1]]
