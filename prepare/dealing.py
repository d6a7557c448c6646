"""How files are dealt to chunks, so that a content is embedded once though chunks are apart."""

from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from common.files import content_hash
from common.image_files import read_image_file
from prepare.sources import Source


def deal(sources: Sequence[Source], root: Path, size: int, threads: int) -> Iterator[list[Source]]:
    """Deal files to chunks of `size`, some larger; what may be copies comes into one chunk.

    Files of equal size may be copies. If there are more of one size than a chunk has, they are read
    and compared by their content. The order is that of `sources`, but for copies, which come with
    the first of them.
    """
    sizes = Counter(source.size_bytes for source in sources)
    many = [source for source in sources if sizes[source.size_bytes] > size]
    with ThreadPoolExecutor(threads) as pool:
        contents = pool.map(partial(_content, root), many)
        content_of = dict(zip((source.path for source in many), contents, strict=True))
    alike: dict[tuple[int, str], list[Source]] = {}
    for source in sources:
        key = source.size_bytes, content_of.get(source.path, "")
        alike.setdefault(key, []).append(source)
    dealt: list[Source] = []
    for files in alike.values():
        dealt += files
        if len(dealt) >= size:
            yield dealt
            dealt = []
    if dealt:
        yield dealt


def _content(root: Path, source: Source) -> str:
    """The content hash of a file; its path, if it cannot be read: it is no copy then."""
    try:
        return source.path if source.problem else content_hash(read_image_file(root / source.path))
    except OSError:
        return source.path
