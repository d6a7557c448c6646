"""The images that were deleted live: they stay out although their files may be there.

A deletion ends when the image is put again, or when `prepare.py add` names its very file. It goes
with a file that is moved between two runs.
"""

from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence

from prepare.members import Member, Removed
from prepare.scan import Listed
from prepare.sources import Source
from prepare.stored import StoredRow
from prepare.written import moved

Result = tuple[Listed, StoredRow]
"""A file, and what is stored of it."""


class Removals:
    """What was deleted, by path and content."""

    def __init__(self, removed: Iterable[Removed]) -> None:
        self._by_id = {(image.path, image.content): image for image in removed}

    def add(self, member: Member) -> None:
        """Delete an image."""
        self._set(Removed(member.path, member.content, member.size_bytes, member.mtime_ns))

    def end(self, path: str, content: str) -> None:
        """An image was put again."""
        self._by_id.pop((path, content), None)

    def end_at(self, paths: Container[str]) -> None:
        """Files were named by `add`."""
        self._by_id = {key: image for key, image in self._by_id.items() if image.path not in paths}

    def to_read(self, files: Sequence[Listed]) -> Callable[[], Iterator[Listed]]:
        """What goes through files, but for those of images that were deleted by now.

        They are as they were by size and time.
        """
        known = {_file(image) for image in self._by_id.values()}
        return lambda: (file for file in files if _file(file.source) not in known)

    def follow(self, there: Container[str], arrived: Mapping[str, str]) -> None:
        """Go with files that have moved since the last run; `arrived` has contents by new path."""
        seen = [image for image in self._by_id.values() if image.mtime_ns]
        gone = [image for image in seen if image.path not in there]
        for image in gone:  # a file that comes later is another file
            self._set(image._replace(size_bytes=0, mtime_ns=0))
        for path, image in moved(gone, arrived).items():
            self._set(image._replace(path=path))

    def keep_out(self, results: Iterable[Result]) -> Iterator[Result]:
        """What was found in files, but for deleted images."""
        for listed, result in results:
            source = listed.source
            if (source.path, result.content) in self._by_id:
                self._set(Removed(source.path, result.content, *_file(source)[1:]))
            else:
                yield listed, result

    def contents(self) -> set[str]:
        """The contents of all."""
        return {image.content for image in self._by_id.values()}

    def __contains__(self, image: tuple[str, str]) -> bool:
        """Whether the image with a path and a content was deleted."""
        return image in self._by_id

    def all(self) -> tuple[Removed, ...]:
        """All, sorted."""
        return tuple(sorted(self._by_id.values()))

    def _set(self, image: Removed) -> None:
        self._by_id[image.path, image.content] = image


def _file(file: Removed | Source) -> tuple[str, int, int]:
    """What tells whether a file is as it was."""
    return file.path, file.size_bytes, file.mtime_ns
