"""Grouping inputs by their sizes, so that a large one slows down no small one."""

import sys
from collections.abc import Sequence

PADDING_SHARE = 0.25
"""The largest share of padding in a bucket. With more, the largest input slows down the others."""


def buckets(
    sizes: Sequence[int], max_count: int = sys.maxsize, max_size: int = sys.maxsize
) -> list[list[int]]:
    """Group the places of `sizes`, the smallest first; equal sizes stay in their order.

    A bucket has at most `max_count` inputs and, padded to its largest, the size `max_size`; an
    input that is larger is alone. At most `PADDING_SHARE` of a padded bucket is padding.
    """
    groups: list[list[int]] = []
    total = 0
    for place in sorted(range(len(sizes)), key=sizes.__getitem__):
        size = sizes[place]
        count = len(groups[-1]) + 1 if groups else 0
        padded = size * count
        total += size
        fits = 0 < count <= max_count and padded <= max_size
        if not fits or total < (1 - PADDING_SHARE) * padded:
            groups.append([])
            total = size
        groups[-1].append(place)
    return groups
