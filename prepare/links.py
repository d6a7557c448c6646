"""Links below a root: each file and folder is taken once, however many links lead to it."""

import os
from collections.abc import Iterable
from typing import Literal

from prepare.exclude import Exclude

Way = Literal["taken", "follow", "out"]


class Links:
    """Knows all that is walked, without links: the roots, and what links have led to."""

    def __init__(self, roots: Iterable[str], exclude: Exclude, *, follow: bool) -> None:
        self._exclude = exclude
        self._follow = follow
        self._folders = {os.path.realpath(root): "" for root in roots}
        """Roots and folders that links led to, with their paths from the root."""
        self._files: set[str] = set()
        """Files that links led to."""

    def has(self, real: str) -> bool:
        """Whether a path without links is a root, or what a link has led to."""
        return real in self._files or real in self._folders

    def follow(self, real: str, inside: str, *, is_folder: bool) -> Way:
        """Follow a link at `inside` to `real`, unless that is taken anyway, or leads out.

        A link to what is excluded below the same root is followed: nothing else leads there.
        """
        home = self._home(real)
        if self.has(real) or (home and self._is_walked(home, real, is_folder=is_folder)):
            return "taken"
        if home is None and not self._follow:
            return "out"
        if is_folder:
            self._folders[real] = inside
        else:
            self._files.add(real)
        return "follow"

    def _home(self, real: str) -> str | None:
        """The innermost folder that is walked and holds a path."""
        while real not in self._folders:
            real, below = os.path.dirname(real), real
            if real == below:
                return None
        return real

    def _is_walked(self, home: str, real: str, *, is_folder: bool) -> bool:
        inside = os.path.join(self._folders[home], os.path.relpath(real, home))
        return not self._exclude.leaves_out(inside, is_folder=is_folder)
