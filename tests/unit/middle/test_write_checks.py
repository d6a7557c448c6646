"""Which images and which metadata may be put."""

import math
from typing import Any

import pytest

from common.errors import BadRequest
from middle.write_checks import check_metadata, check_put
from middle.write_messages import MAX_FIELDS, MAX_METADATA_BYTES, MAX_NAME, Metadata, PutQuery


def test_metadata_is_small_and_of_numbers_that_a_filter_can_compare() -> None:
    """Up to the limits."""
    whole: Metadata = {
        "least": -(2**63),
        "most": 2**63 - 1,
        "name" * (MAX_NAME // 4): None,
        "on": True,
    }
    assert check_metadata(whole) == whole
    assert check_metadata(dict.fromkeys(map(str, range(MAX_FIELDS)), 0.5))


@pytest.mark.parametrize(
    "metadata",
    [
        dict.fromkeys(map(str, range(MAX_FIELDS + 1))),
        {"": 1},
        {"n" * (MAX_NAME + 1): 1},
        {"large": 2**63},
        {"small": -(2**63) - 1},
        {"none": math.nan},
        {"endless": -math.inf},
        {"long": "x" * MAX_METADATA_BYTES},
    ],
)
def test_metadata_over_a_limit_is_refused(metadata: dict[str, Any]) -> None:
    """Of a put and of a change."""
    with pytest.raises(BadRequest):
        check_metadata(metadata)


@pytest.mark.parametrize(
    "wrong",
    [{"image": b""}, {"path": ""}, {"path": "a\0b"}, {"path": "a" * 5000}, {"told_from": 5}],
)
def test_an_image_has_a_file_and_a_path(wrong: dict[str, Any]) -> None:
    """As front always sends it."""
    right: dict[str, Any] = {"image": b"x", "path": "a.jpg", "told_from": 4}
    check_put(PutQuery(**right))
    with pytest.raises(BadRequest):
        check_put(PutQuery(**{**right, **wrong}))
