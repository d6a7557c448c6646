"""Folders of images that come and go on a disk, and the truth of what lies in them."""

import errno
import io
import os
import shutil
from collections.abc import Iterator
from itertools import count
from pathlib import Path

from tests.prepare.prepared_folder import noise

DEEP = "deep"
"""A folder of each root that may be made unreadable."""
BROKEN = (b"", b"broken", bytes(200))


def picture(seed: int) -> bytes:
    """An image file; all have the same size in bytes."""
    file = io.BytesIO()
    noise(seed, 4, 4).save(file, "PNG", compress_level=0)
    return file.getvalue()


class Folders:
    """Roots in a folder. One may be unmounted, and a folder in it unreadable; its files stay."""

    def __init__(self, base: Path) -> None:
        self.base = base
        self.files: dict[str, dict[str, bytes]] = {}
        self.unmounted: set[str] = set()
        self.unread: set[str] = set()
        self._times = count(10**18, 10**9)
        self._scandir = os.scandir

    def write(self, root: str, name: str, data: bytes) -> None:
        """Write a file; its time is like no other's."""
        path = self.base / root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        self.files.setdefault(root, {})[name] = data
        self.touch(root, name)

    def touch(self, root: str, name: str) -> None:
        """Give a file another time."""
        moment = next(self._times)
        os.utime(self.base / root / name, ns=(moment, moment))

    def delete(self, root: str, name: str) -> None:
        """Delete a file."""
        (self.base / root / name).unlink()
        del self.files[root][name]

    def rename(self, root: str, name: str, to_root: str, to_name: str) -> None:
        """Move a file, over one that may be there."""
        path = self.base / to_root / to_name
        path.parent.mkdir(parents=True, exist_ok=True)
        (self.base / root / name).rename(path)
        self.files[to_root][to_name] = self.files[root].pop(name)

    def unmount(self, root: str, *, leave_folder: bool) -> None:
        """Take a root away; its empty folder may stay."""
        shutil.move(self.base / root, self.base / "away" / root)
        if leave_folder:
            (self.base / root).mkdir()
        self.unmounted.add(root)

    def mount(self, root: str) -> None:
        """Bring a root back."""
        if (self.base / root).exists():
            (self.base / root).rmdir()
        shutil.move(self.base / "away" / root, self.base / root)
        self.unmounted.remove(root)

    def scandir(self, path: str | int = ".") -> Iterator[os.DirEntry[str]]:
        """In place of os.scandir, as root may read what nobody may; also of a descriptor."""
        if str(path) in {str(self.base / root / DEEP) for root in self.unread}:
            raise PermissionError(errno.EACCES, "Permission denied", path)
        return self._scandir(path)

    def there(self, root: str) -> dict[str, bytes]:
        """The good images that a root has, mounted or not, by path."""
        return {
            f"{root}/{name}": data for name, data in self.files[root].items() if data not in BROKEN
        }

    def listed(self, root: str) -> dict[str, bytes]:
        """All files of a root that can be read now, by path."""
        if root in self.unmounted:
            return {}
        names = self.files[root].items()
        return {
            f"{root}/{name}": data
            for name, data in names
            if root not in self.unread or not name.startswith(f"{DEEP}/")
        }

    def visible(self, root: str) -> dict[str, bytes]:
        """Of them the good images."""
        return {path: data for path, data in self.listed(root).items() if data not in BROKEN}
