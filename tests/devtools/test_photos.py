"""The photos that are embedded and sent."""

import io
from pathlib import Path

from PIL import Image

from devtools.photos import photo, write_photos


def test_no_two_photos_are_equal_and_a_number_is_always_the_same() -> None:
    """They are JPEGs with the long side that was asked for."""
    files = [photo(number, 100) for number in range(150)]

    assert 150 == len(set(files))
    assert files[7] == photo(7, 100)
    assert {100} == {max(Image.open(io.BytesIO(file)).size) for file in files}


def test_photos_that_are_there_are_not_made_again(tmp_path: Path) -> None:
    """More of them leave the first ones alone."""
    first = write_photos(tmp_path, 3, 50)
    first[1].write_bytes(b"kept")

    assert first == write_photos(tmp_path, 5, 50)[:3]
    assert b"kept" == first[1].read_bytes()
    assert 5 == len(list(tmp_path.iterdir()))
