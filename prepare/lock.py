"""The lock of a folder: one process at a time writes into it."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from common.errors import ConfigError
from common.files import LOCK
from search.manifest import BadIndex


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the folder's lock, which ends with the process.

    Raises ConfigError when the lock is taken, and for errors of the disk under the lock.
    """
    with writing_into(folder):
        folder.mkdir(parents=True, exist_ok=True)
        try:
            with FileLock(folder / LOCK, timeout=0):
                yield
        except Timeout:
            raise ConfigError(f"another run is writing into {folder}") from None


@contextmanager
def writing_into(folder: Path) -> Iterator[None]:
    """Turn errors of the disk into ConfigErrors."""
    try:
        yield
    except OSError as error:
        raise ConfigError(f"cannot write into {folder}: {error}") from None
    except BadIndex as error:  # hnswlib reports no error when the disk is full
        raise ConfigError(f"cannot write into {folder}, is the disk full? {error}") from None
