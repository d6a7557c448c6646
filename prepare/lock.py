"""One writer at a time in a folder, and what keeps it from writing."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from common.errors import ConfigError
from search.manifest import BadIndex


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the folder's lock, which ends with the process.

    Raises ConfigError when it is taken, and for what the disk refuses while it is held.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(folder / ".lock", timeout=0):
            yield
    except Timeout:
        raise ConfigError(f"another run is writing into {folder}") from None
    except OSError as error:
        raise ConfigError(f"cannot write into {folder}: {error}") from None
    except BadIndex as error:  # hnswlib does not tell that it could not write all
        raise ConfigError(f"cannot write into {folder}, is the disk full? {error}") from None
