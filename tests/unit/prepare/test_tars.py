"""What lies beside the images of a tar."""

import json
from pathlib import Path

from common.settings.prepare import EXCLUDE
from prepare.exclude import Exclude
from prepare.left_out import LeftOut
from prepare.tars import read_tar
from tests.unit.common.test_image_files import write_tar


def test_what_lies_beside_an_image_is_its_metadata(tmp_path: Path) -> None:
    """JSON and caption by the name up to the first dot; all else is left out and told."""
    about = {"width": 40, "caption": "an owl", "exif": {"Make": "X"}, "nsfw": None}
    files = {
        "owl.txt": b"the caption in JSON counts",
        "owl.json": json.dumps(about).encode(),
        "owl.jpg": b"1",
        "in.2/cat.small.png": b"2",
        "in.2/cat.txt": b" a cat\n",
        "in.2/cat.cls": b"3",
        "bad.json": b"{",
        "bad.txt": b"a good caption",
        "latin.txt": "Käuzchen".encode("latin-1"),
        "latin.json": b'{"rating": 5}',
        "latin.jpg": b"7",
        "bad.webp": b"4",
        "alone.json": b"{}",
        "._owl.jpg": b"5",
        "@eaDir/owl.jpg": b"6",
    }
    tar = write_tar(tmp_path / "a.tar", files)
    left_out: list[LeftOut] = []

    found = dict(read_tar(tar, Exclude(EXCLUDE), left_out))

    assert {
        tar / "owl.jpg": {"width": 40, "caption": "an owl", "exif": '{"Make":"X"}', "nsfw": None},
        tar / "in.2/cat.small.png": {"caption": "a cat"},
        tar / "bad.webp": {"caption": "a good caption"},
        tar / "latin.jpg": {"rating": 5},
    } == found
    assert {
        "in.2/cat.cls": "ending",
        "alone.json": "ending",
        "bad.json": "error",
        "latin.txt": "error",
        "._owl.jpg": "excluded file",
        "@eaDir/owl.jpg": "excluded file",
    } == {str(Path(left.path).relative_to(tar)): left.kind for left in left_out}
