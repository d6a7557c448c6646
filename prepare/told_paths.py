"""How answers tell where an image is: from its root, never from the top of the file system.

A root is told by its last name, or by as many of its last names as tell it from all other roots.
"""

import os
from collections import Counter
from collections.abc import Callable, Iterable


def told_from(paths: Iterable[str], roots: Iterable[str]) -> Callable[[str], int]:
    """What gives where the part of each of some paths begins that answers tell, in characters.

    A path is relative to the folder of config.json, and told whole; or absolute, and below one of
    `roots`, which are absolute folders.
    """
    tops = {path.partition("/")[0] for path in paths if not path.startswith("/")}
    begins = {root: len(root) - len(label) for root, label in _labels(roots, tops).items()}
    return lambda path: _begin(path, begins) if path.startswith("/") else 0


def _begin(path: str, begins: dict[str, int]) -> int:
    """The begin for the innermost root of a path; `begins` keeps it for the folders between."""
    between = []
    folder = os.path.dirname(path)
    while folder not in begins and folder != "/":
        between.append(folder)
        folder = os.path.dirname(folder)
    begin = begins.get(folder, 0)
    begins.update(dict.fromkeys(between, begin))
    return begin


def _labels(roots: Iterable[str], tops: set[str]) -> dict[str, str]:
    """The last names of each root; none equals or continues another's, or one of `tops`."""
    labels = {root: os.path.basename(root) for root in roots}
    while True:
        used = Counter([*labels.values(), *tops])
        longer = {
            root: "/".join(root.split("/")[-label.count("/") - 2 :])
            for root, label in labels.items()
            if _clashes(label, used) and root != f"/{label}"
        }
        if not longer:
            return labels
        labels |= longer


def _clashes(label: str, used: Counter[str]) -> bool:
    names = label.split("/")
    begins = ("/".join(names[:count]) for count in range(1, len(names)))
    return used[label] > 1 or any(used[begin] for begin in begins)


def add_root(others: dict[str, str], own: str, path: str) -> None:
    """Note the root of a path outside of `own`, the folder of the list or table that names it.

    `others` has one root for each folder at the top of the file system: what its paths share.
    """
    if path.startswith("/") and not path.startswith(f"{own}/"):
        folder = os.path.dirname(path)
        top = folder.split("/")[1]
        others[top] = os.path.commonpath([others.get(top, folder), folder])
