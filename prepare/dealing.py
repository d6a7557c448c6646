"""How files are dealt to chunks, so that a content is embedded once though chunks are apart."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from common.files import content_hash, location_hash
from common.image_files import read_image_file
from prepare.embed import ahead
from prepare.sources import Source

AHEAD = 4
"""Files that are compared wait for each thread."""
Positions = NDArray[np.intp]


def deal(sources: Sequence[Source], root: Path, size: int, threads: int) -> Iterator[Positions]:
    """Deal files to chunks of `size`, some larger; what may be copies comes into one chunk.

    Gives the positions of the files of each.

    Files of equal size may be copies. If there are more of one size than a chunk has, they are read
    and compared by their content. The order is that of `sources`, but for copies, which come with
    the first of them.
    """
    sizes = np.fromiter((source.size_bytes for source in sources), np.int64)
    _, kinds, counts = np.unique(sizes, return_inverse=True, return_counts=True)
    many = np.flatnonzero(counts[kinds] > size)
    contents = np.zeros(len(sizes), np.uint64)
    with ThreadPoolExecutor(threads) as pool:
        files = (sources[position] for position in many.tolist())
        read = ahead(pool, partial(_content, root), files, AHEAD * threads)
        contents[many] = np.fromiter(read, np.uint64)
    order, ends = _groups(sizes, contents)
    start = 0
    while start < len(order):
        end = int(ends[min(int(np.searchsorted(ends, start + size)), len(ends) - 1)])
        yield order[start:end]
        start = end


def _groups(sizes: NDArray[np.int64], contents: NDArray[np.uint64]) -> tuple[Positions, Positions]:
    """The order in which all files of a size and content come with the first; where each ends."""
    order = np.lexsort((contents, sizes))
    same = (np.diff(sizes[order]) == 0) & (np.diff(contents[order]) == 0)
    starts = np.flatnonzero(np.append(True, ~same))[: len(order)]
    first = np.empty_like(order)
    first[order] = np.repeat(order[starts], np.diff(starts, append=len(order)))
    order = np.argsort(first, kind="stable")
    return order, np.append(np.flatnonzero(np.diff(first[order])) + 1, len(order))


def _content(root: Path, source: Source) -> int:
    """The content hash of a file; that of its path, if it cannot be read: it is no copy then."""
    try:
        if not source.problem:
            return int(content_hash(read_image_file(root / source.path)), 16)
    except OSError:
        pass
    return location_hash(source.path)
