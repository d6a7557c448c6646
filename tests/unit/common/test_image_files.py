"""Images in tars: where their bytes lie, and what is no image file."""

import io
import os
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

import pytest

from common.image_files import MAX_END_BYTES, members_of, read_image_file, state_of


def write_tar(path: Path, files: dict[str, bytes]) -> Path:
    """Write a tar."""
    with tarfile.open(path, "w") as tar:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return path


def test_a_member_is_read_by_its_path(tmp_path: Path) -> None:
    """In a folder of the tar, too, however its name is written; with the time of the tar."""
    tar = write_tar(tmp_path / "a.TAR", {"./one.jpg": b"one", "in/two.jpg": b"two", "one": b""})
    os.utime(tar, ns=(1, 7))

    assert b"one" == read_image_file(tar / "one.jpg")
    assert b"two" == read_image_file(tar / "in/two.jpg")
    state = state_of(tar / "in/two.jpg")
    assert (3, 7, tar.stat().st_ino, True) == state
    assert state_of(tmp_path).is_regular is False


def test_another_tar_at_the_path_is_seen(tmp_path: Path) -> None:
    """Its members are not those that are remembered."""
    tar = write_tar(tmp_path / "a.tar", {"one.jpg": b"one"})
    assert b"one" == read_image_file(tar / "one.jpg")
    write_tar(tmp_path / "b.tar", {"zero.jpg": b"0" * 600, "one.jpg": b"1"}).replace(tar)

    assert b"1" == read_image_file(tar / "one.jpg")


@pytest.mark.parametrize("name", ["two.jpg", "one.jpg/one.jpg", "in"])
def test_what_is_not_in_a_tar_is_not_there(name: str, tmp_path: Path) -> None:
    """Nor is anything in a file that is no tar by its name."""
    tar = write_tar(tmp_path / "a.tar", {"one.jpg": b"one", "in/two.jpg": b"two"})
    for path in (tar / name, write_tar(tmp_path / "a.zip", {name: b"x"}) / name):
        with pytest.raises(FileNotFoundError):
            read_image_file(path)
        with pytest.raises(FileNotFoundError):
            state_of(path)


def test_an_empty_member_is_no_image(tmp_path: Path) -> None:
    """As an empty file is none."""
    tar = write_tar(tmp_path / "a.tar", {"one.jpg": b""})
    with pytest.raises(OSError, match="0 bytes"):
        read_image_file(tar / "one.jpg")


def test_what_leads_out_of_a_tar_is_no_member(tmp_path: Path) -> None:
    """By its name, or as a link."""
    files = {"/etc/passwd": b"x", "../up.jpg": b"x", "in/../../up.jpg": b"x", "..jpg": b"good"}
    tar = write_tar(tmp_path / "a.tar", files)
    with tarfile.open(tar, "a") as archive:
        for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.DIRTYPE):
            member = tarfile.TarInfo(f"{kind!r}.jpg")
            member.type, member.linkname = kind, "/etc/passwd"
            archive.addfile(member)

    assert ["..jpg"] == list(members_of(tar))


SECOND = 20_992
"""Where the second of two members of 20,000 bytes begins: after a header and 40 blocks of 512."""
DAMAGE: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda whole: b"",
    "other": lambda whole: b"x" * 2000,
    "cut": lambda whole: whole[:30_000],
    "cut between members": lambda whole: whole[:SECOND],
    "cut in a header": lambda whole: whole[: SECOND + 300],
    "a bit of a header": lambda whole: whole[:SECOND] + b"T" + whole[SECOND + 1 :],
    "a page of zeros": lambda whole: whole[:SECOND] + bytes(4096) + whole[SECOND + 4096 :],
    "not yet written": lambda whole: whole[:SECOND] + bytes(MAX_END_BYTES + 1),
    "two tars": lambda whole: whole + whole,
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_what_is_no_whole_tar_is_an_error(damage: Callable[[bytes], bytes], tmp_path: Path) -> None:
    """All its images count as unread then: none is taken for deleted."""
    tar = write_tar(tmp_path / "a.tar", {"one.jpg": b"1" * 20_000, "two.jpg": b"2" * 20_000})
    tar.write_bytes(damage(tar.read_bytes()))
    with pytest.raises(OSError, match="no whole tar"):
        members_of(tar)


@pytest.mark.parametrize(
    ("size", "headers"),
    [
        (2**80, {}),
        (0, {"size": "-1536"}),
        (0, {"size": "-1"}),
        (0, {"GNU.sparse.map": "x,1"}),
    ],
    ids=["size", "negative", "a little negative", "sparse"],
)
def test_a_bad_number_in_a_header_is_an_error(
    size: int, headers: dict[str, str], tmp_path: Path
) -> None:
    """tarfile raises ValueError for the first and the last; some others it would read for ever."""
    member = tarfile.TarInfo("one.jpg")
    member.size, member.pax_headers = size, headers
    both = tarfile.TarInfo("first.jpg").tobuf() + member.tobuf()
    (tmp_path / "a.tar").write_bytes(both + bytes(2 * tarfile.BLOCKSIZE))
    with pytest.raises(OSError, match="no whole tar"):
        members_of(tmp_path / "a.tar")


def sparse_cut() -> bytes:
    """A tar that ends where the rest of a list of the pieces of a sparse file should be."""
    member = tarfile.TarInfo("one.jpg")
    member.type = tarfile.GNUTYPE_SPARSE
    head = bytearray(member.tobuf(tarfile.GNU_FORMAT))
    head[482] = 1  # the list goes on in the next block
    head[148:156] = b" " * 8
    head[148:156] = b"%06o\0 " % sum(head)
    return bytes(head)


def long_name() -> bytes:
    """A header that promises a name of more bytes than can be read."""
    member = tarfile.TarInfo("one.jpg")
    member.type, member.size = tarfile.GNUTYPE_LONGNAME, 2**80
    return member.tobuf(tarfile.GNU_FORMAT) + bytes(2 * tarfile.BLOCKSIZE)


@pytest.mark.parametrize("second", [sparse_cut(), long_name()], ids=["sparse", "name"])
def test_what_tarfile_cannot_read_is_an_error(second: bytes, tmp_path: Path) -> None:
    """It raises IndexError and OverflowError."""
    (tmp_path / "a.tar").write_bytes(tarfile.TarInfo("first.jpg").tobuf() + second)
    with pytest.raises(OSError, match="no whole tar"):
        members_of(tmp_path / "a.tar")


def test_what_is_no_whole_tar_is_looked_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each picture of it may be asked for, and a look takes as long as at a whole one."""
    tar = tmp_path / "a.tar"
    tar.write_bytes(b"x" * 2000)
    looks: list[Path] = []
    whole = Path.open

    def look(path: Path, mode: str) -> IO[Any]:
        looks.append(path)
        return whole(path, mode)

    monkeypatch.setattr(Path, "open", look)
    for _ in range(3):
        with pytest.raises(OSError, match="no whole tar"):
            members_of(tar)

    assert looks == [tar]


@pytest.mark.parametrize("end_bytes", [512, 1024, 2 << 20])
def test_a_tar_ends_with_few_zeros_or_many(end_bytes: int, tmp_path: Path) -> None:
    """As other programs write it: a lone block, no filling, or records of another size."""
    tar = write_tar(tmp_path / "a.tar", {"one.jpg": b"1" * 20_000})
    tar.write_bytes(tar.read_bytes()[:SECOND] + bytes(end_bytes))

    assert ["one.jpg"] == list(members_of(tar))
