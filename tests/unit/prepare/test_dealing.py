"""How files are dealt to chunks."""

from pathlib import Path

from prepare.dealing import deal
from prepare.sources import Source


def written(folder: Path, **files: bytes) -> list[Source]:
    """Files with some content."""
    for name, data in files.items():
        (folder / name).write_bytes(data)
    return [Source(name, len(data), 1) for name, data in files.items()]


def dealt(sources: list[Source], root: Path, size: int) -> list[str]:
    """The names of each chunk."""
    return ["".join(sources[i].path for i in some) for some in deal(sources, root, size, 2)]


def test_what_may_be_a_copy_comes_with_the_first(tmp_path: Path) -> None:
    """Files of one size are not read, but kept together; else they stay in order."""
    sizes = {"a": 1, "b": 2, "c": 3, "d": 1, "e": 4, "f": 5, "g": 2}
    sources = [Source(name, size, 1) for name, size in sizes.items()]

    assert ["adbg", "cef"] == dealt(sources, tmp_path, 3)
    assert ["adbgcef"] == dealt(sources, tmp_path, 9)
    assert [] == dealt([], tmp_path, 9)


def test_many_of_one_size_are_compared(tmp_path: Path) -> None:
    """More than a chunk has: copies come together, the others in order; what is gone is none."""
    sources = written(tmp_path, a=b"1", b=b"2", c=b"3", d=b"1", e=b"4", f=b"2")
    sources += [Source("gone", 1, 1), Source("odd", 1, 1, problem="not a regular file")]

    assert ["ad", "bf", "ce", "goneodd"] == dealt(sources, tmp_path, 2)
    assert ["ad"] == dealt([sources[0], sources[3]], tmp_path, 1)
