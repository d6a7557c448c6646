"""The change of the roots of a collection, in collection.json beside the embeddings."""

from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import msgspec

from common.config import Loaded
from common.errors import ConfigError
from common.files import name_of, replace_bytes
from common.roots import COLLECTION, Root, Roots


class Change(NamedTuple):
    """What a command changes: absolute paths to add and to remove."""

    add: tuple[Path, ...] = ()
    remove: tuple[Path, ...] = ()
    inner: bool = True
    """Whether a folder is added that lies in a root; else that root is enough."""


def write_roots(folder: Path, roots: Roots) -> None:
    """Replace collection.json in one step."""
    replace_bytes(folder / COLLECTION, msgspec.json.format(msgspec.json.encode(roots), indent=1))


def changed(roots: Roots | None, change: Change, loaded: Loaded, known: Iterable[str]) -> Roots:
    """The roots after a change; raises ConfigError.

    `known` are the roots that images name: they are the roots if collection.json is lost. A new
    collection begins with what the change adds, else with `Prepare.images`.
    """
    images = loaded.config.prepare.images
    if roots:
        new = [name for name in images if name not in roots.images]
        before = roots.names + [name_of(loaded.path(name), loaded.root) for name in new]
    else:
        before = sorted(known)
        if not before and not change.add:
            before = [name_of(loaded.path(name), loaded.root) for name in images]
    names = _without(before, [name_of(path, loaded.root) for path in change.remove], loaded)
    for path in change.add:
        if change.inner or not _holds(names, path, loaded.root):
            names.append(name_of(path, loaded.root))
    _check(names)
    return Roots(tuple(map(Root, dict.fromkeys(names))), images)


def _without(names: list[str], removed: list[str], loaded: Loaded) -> list[str]:
    """The names that stay; raises ConfigError for one that is not there."""
    held = [name_of(loaded.path(name), loaded.root) for name in names]  # earlier releases kept //
    for name in removed:
        if name not in held:
            raise ConfigError(f"{name} was not added to the collection; it has: {', '.join(names)}")
    return [name for name, path in zip(names, held, strict=True) if path not in removed]


def _holds(names: list[str], path: Path, root: Path) -> bool:
    """Whether a folder lies in one of the roots, and in no hidden folder there."""
    above = [parent for parent in path.parents if name_of(parent, root) in names]
    return path.is_dir() and any(
        not any(part.startswith(".") for part in path.relative_to(parent).parts) for parent in above
    )


def _check(names: list[str]) -> None:
    if not names:
        raise ConfigError("a collection cannot be empty: add an image or a folder first")
    for name in names:
        try:
            name.encode()
        except UnicodeEncodeError:
            raise ConfigError(f"{name!a}: the name is not UTF-8; rename it") from None
