"""The roots of a collection: what was named, in collection.json beside the embeddings."""

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import msgspec

from common.errors import ConfigError
from common.files import absolute_name
from common.settings.prepare import Prepare
from common.wire import UNREADABLE

COLLECTION = "collection.json"


class Root(msgspec.Struct, frozen=True):
    """A folder, list, table or file that was named; an object, so that options can join it."""

    path: str
    """Relative to the folder of config.json if it lies there, else absolute."""


class Roots(msgspec.Struct, frozen=True):
    """The content of collection.json."""

    roots: tuple[Root, ...]
    images: tuple[str, ...]
    """`Prepare.images` as it was; what is new in it is added to the roots."""

    @property
    def names(self) -> list[str]:
        """The paths of the roots."""
        return [root.path for root in self.roots]


def read_roots(folder: Path) -> Roots | None:
    """The roots in an embedding folder, None before they are written; raises ConfigError."""
    path = folder / COLLECTION
    try:
        return msgspec.json.decode(path.read_bytes(), type=Roots)
    except FileNotFoundError:
        return None
    except UNREADABLE as error:
        raise ConfigError(
            f"{path} cannot be read: {error}. Correct it, or delete it: the images name their roots"
        ) from None


def folders_of_roots(prepare: Prepare, root: Path) -> Iterator[str]:
    """The absolute paths of the roots of the collection; `root` is the folder of config.json."""
    roots = None
    with suppress(ConfigError):  # prepare says so; what config.json names holds
        roots = read_roots(root / prepare.embedding_dir)
    for name in dict.fromkeys([*(roots.names if roots else []), *prepare.images]):
        yield absolute_name(root / name)


def is_in(path: str, folder: str) -> bool:
    """Whether an absolute path is a folder or lies below it."""
    return path == folder or path.startswith(f"{folder.rstrip('/')}/")
