"""Masks as run lengths."""

import pytest

from common.errors import InvalidResponse
from middle.run_lengths import run_lengths
from tests.unit.segmenting import png


@pytest.mark.parametrize(
    ("mask", "counts"),
    [
        ([[0, 1, 1], [0, 0, 1]], [2, 1, 1, 2]),
        ([[1, 0], [1, 0]], [0, 2, 2]),
        ([[1]], [0, 1]),
        ([[0, 0]], [2]),
    ],
)
def test_run_lengths_go_down_the_columns_and_begin_outside(
    mask: list[list[int]], counts: list[int]
) -> None:
    """As COCO has them: the examples are counted by hand."""
    assert run_lengths(png(mask)) == {"size": [len(mask), len(mask[0])], "counts": counts}


@pytest.mark.parametrize("file", [b"", b"no PNG", png([[1, 0]])[:40]])
def test_a_mask_that_is_none_is_an_error_of_ours(file: bytes) -> None:
    """503, not a traceback."""
    with pytest.raises(InvalidResponse):
        run_lengths(file)
