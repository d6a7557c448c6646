"""Files that are complete or absent: written under a temporary name, synced, then renamed."""

import errno
import hashlib
import os
import secrets
import stat
from collections.abc import Callable, Iterable
from pathlib import Path

TEMPORARY = ".tmp"
LOCK = ".lock"
"""In a folder: one process at a time writes into it."""
MAX_IMAGE_BYTES = 512 * 2**20
"""The largest image file that prepare reads and front serves."""


def write_whole(path: Path, write: Callable[[Path], None]) -> None:
    """Let `write` make a temporary file, sync the file, and rename it to `path`.

    Several may write the same file: it is what one of them wrote. An OSError names the file.
    """
    temporary = temporary_of(path)
    try:
        write(temporary)
        move(temporary, path)
    except BaseException as error:
        temporary.unlink(missing_ok=True)
        raise _naming(path, temporary, error) from None


def write_synced(path: Path, write: Callable[[Path], None]) -> None:
    """Let `write` make a file, and sync it; nobody reads it yet. An OSError names the file."""
    try:
        write(path)
        sync(path)
    except OSError as error:
        raise _naming(path, path, error) from None


def temporary_of(path: Path) -> Path:
    """A name beside `path` that no other writer has, in any process of any machine."""
    return path.with_name(f"{path.name}.{os.getpid()}-{secrets.token_hex(4)}{TEMPORARY}")


def sweep_temporary(folder: Path) -> None:
    """Delete what killed writers left in a folder; nobody else may write there meanwhile."""
    for path in folder.glob(f"*{TEMPORARY}"):
        path.unlink(missing_ok=True)


def move(path: Path, to: Path) -> None:
    """Rename a file, within a disk, so that it is whole under its new name after a power cut."""
    sync(path)
    path.replace(to)
    sync(to.parent)


def replace_bytes(path: Path, data: bytes) -> None:
    """Replace the file at `path` by `data` atomically."""
    write_whole(path, lambda temporary: _write(temporary, data))


def read_regular(path: Path, max_bytes: int) -> bytes:
    """Read a regular file of 1 to `max_bytes` bytes; raises OSError for anything else.

    Nothing else is read, and no pipe or device is waited for: neither at `path`, nor where a link
    leads, nor if `path` becomes another file meanwhile. A file of the kernel, such as in /proc,
    says that it has no bytes, or too many.
    """
    _check_regular(path.stat(), max_bytes)  # opening a device may do something
    with os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
        found = os.fstat(file.fileno())
        _check_regular(found, max_bytes)
        return file.read(found.st_size)  # no more, if it grows


def sync(path: Path) -> None:
    """Wait until a file, or the entries of a folder, are on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def absolute_name(path: str | Path) -> str:
    """The absolute path of a file without . and .., so that a file has one name.

    Two slashes at the front, which Python keeps, are one to Linux.
    """
    name = os.path.abspath(path)
    return name[1:] if name.startswith("//") else name


def name_of(path: str | Path, root: Path) -> str:
    """A path relative to `root`, the folder of config.json, if it lies there, else absolute."""
    name = absolute_name(path)
    return os.path.relpath(name, root) if name.startswith(f"{root}{os.sep}") else name


def content_hash(data: bytes) -> str:
    """64 bits of BLAKE2b over a file's bytes, in hex: the first half of an image's id."""
    return hashlib.blake2b(data, digest_size=8).hexdigest()


def location_hash(path: str) -> int:
    """64 bits of BLAKE2b over the path of an image: the second half of its id."""
    return int.from_bytes(hashlib.blake2b(path.encode(), digest_size=8).digest(), "big")


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sha256_of_all(paths: Iterable[Path]) -> str:
    """The SHA-256 of the SHA-256s of some files, in the order of their names, in hex."""
    return hashlib.sha256("".join(map(sha256_of, sorted(paths))).encode()).hexdigest()


def stamp_of(path: Path) -> tuple[int, int]:
    """The time of the last change in ns, and the inode; (0, 0) if the file does not exist."""
    try:
        status = path.stat()
    except OSError:
        return 0, 0
    return status.st_mtime_ns, status.st_ino


def _naming(path: Path, written: Path, error: BaseException) -> BaseException:
    """An error with the name of the file that was to be, if it is one of the disk."""
    is_own = isinstance(error, OSError) and error.filename in (None, str(written))
    if isinstance(error, OSError) and error.errno and is_own:
        return OSError(error.errno, error.strerror, str(path))
    return error


def _check_regular(found: os.stat_result, max_bytes: int) -> None:
    if stat.S_ISDIR(found.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    if not stat.S_ISREG(found.st_mode):
        raise OSError(errno.EINVAL, "not a regular file")
    if not 0 < found.st_size <= max_bytes:
        raise OSError(errno.EFBIG, f"{found.st_size} bytes, not 1 to {max_bytes}")


def _write(path: Path, data: bytes) -> None:
    path.write_bytes(data)
