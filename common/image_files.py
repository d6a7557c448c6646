"""The files of images: each by itself, or a member of a tar, as in `photos.tar/owl.jpg`."""

import errno
import os
import stat
import tarfile
from collections.abc import Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import BinaryIO, NamedTuple

from common.files import MAX_IMAGE_BYTES, read_regular

TAR = ".tar"
TARS = 64
"""The tars whose members a process remembers, 200 bytes and the name of each."""
MAX_END_BYTES = 16 << 20
"""Of zeros at the end of a tar. They fill its last record, and no tape has larger ones."""


class FileState(NamedTuple):
    """What tells whether a file is still the same. A member has the time of its tar."""

    size_bytes: int
    mtime_ns: int
    inode: int
    is_regular: bool = True


class Member(NamedTuple):
    """Where the bytes of a regular file lie in its tar."""

    offset: int
    size_bytes: int


def state_of(path: Path) -> FileState:
    """The state of an image file; raises OSError, and ValueError for a path with a null byte."""
    try:
        found = path.stat()
    except NotADirectoryError:
        tar, member = _member_at(path)
        found = tar.stat()
        return FileState(member.size_bytes, found.st_mtime_ns, found.st_ino)
    return FileState(
        found.st_size, found.st_mtime_ns, found.st_ino, is_regular=stat.S_ISREG(found.st_mode)
    )


def read_image_file(path: Path) -> bytes:
    """The bytes of an image file, 1 to `MAX_IMAGE_BYTES`; raises OSError, see `read_regular`."""
    try:
        return read_regular(path, MAX_IMAGE_BYTES)
    except NotADirectoryError:
        tar, member = _member_at(path)
    if not 0 < member.size_bytes <= MAX_IMAGE_BYTES:
        raise OSError(errno.EFBIG, f"{member.size_bytes} bytes, not 1 to {MAX_IMAGE_BYTES}")
    with tar.open("rb") as file:
        return os.pread(file.fileno(), member.size_bytes, member.offset)


def members_of(tar: Path) -> Mapping[str, Member]:
    """The regular files in a tar, in its order, by name; of two of a name the last.

    Left out are names that lead out of it. Raises OSError, also for what is no whole tar.
    """
    state = tar.stat()
    found = _members(tar, (state.st_size, state.st_mtime_ns, state.st_ino))
    if isinstance(found, str):
        raise OSError(f"no whole tar: {found}")
    return found


@lru_cache(TARS)
def _members(tar: Path, state: tuple[int, int, int]) -> Mapping[str, Member] | str:
    """The members of a tar that is as `state` tells, or why it is no whole tar."""
    try:
        with tar.open("rb") as file, tarfile.open(fileobj=file, mode="r:") as archive:
            members = {
                os.path.normpath(member.name): Member(member.offset_data, member.size)
                for member in _forward(archive)
                if member.isreg() and not member.issparse() and _stays(member.name)
            }
            _check_end(file, archive.offset)
            return members
    except OSError:
        raise
    except Exception as error:  # what tarfile raises for bad headers has no class in common
        return str(error) or type(error).__name__


def _forward(archive: tarfile.TarFile) -> Iterator[tarfile.TarInfo]:
    """The members; raises TarError where a size leads back, to read the same ones for ever."""
    for member in archive:
        if member.size < 0 or archive.offset <= member.offset:
            raise tarfile.TarError(f"{member.name} has a size below zero")
        yield member


def _check_end(file: BinaryIO, offset: int) -> None:
    """Raise TarError unless a tar ends at `offset`: tarfile takes damage or a cut for its end."""
    file.seek(offset)
    rest = file.read(MAX_END_BYTES + 1)
    if not tarfile.BLOCKSIZE <= len(rest) <= MAX_END_BYTES or any(rest):
        raise tarfile.TarError(f"it is damaged, cut or not yet written at byte {offset}")


def _stays(name: str) -> bool:
    return not name.startswith("/") and ".." not in name.split("/")


def _member_at(path: Path) -> tuple[Path, Member]:
    """The tar in a path, and the member that the rest names; raises OSError."""
    for tar in path.parents:
        if tar.suffix.lower() == TAR and tar.is_file():
            if member := members_of(tar).get(str(path.relative_to(tar))):
                return tar, member
            break
    raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
