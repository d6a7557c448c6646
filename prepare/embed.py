"""The embedding of one chunk: a pure function of its sources. Decoding runs beside the model."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor, Future
from pathlib import Path
from typing import NamedTuple

import numpy as np

from common.errors import ServiceError, TooLarge
from common.files import content_hash
from common.images.raw import MissingReader
from common.images.renditions import RenditionFolder, render
from common.wire import Matrix
from inference.clip import images
from inference.clip.images import Pixels, Preprocessing
from prepare.chunks import Chunk, Row, Skipped
from prepare.hashes import location_hash, perceptual_hash
from prepare.sources import Source


class Decoded(NamedTuple):
    """An image ready for the model."""

    row: Row
    pixels: Pixels


class Decoding(NamedTuple):
    """The settings for reading images."""

    root: Path
    preprocessing: Preprocessing
    max_pixels: int
    renditions: RenditionFolder | None = None
    rendition_pixels: Sequence[int] = ()
    """The longer sides of the renditions that are made for each image."""


def embed_chunk(
    sources: Sequence[Source],
    decoding: Decoding,
    embed: Callable[[Sequence[Pixels]], Matrix],
    batch_size: int,
    pool: Executor,
    tell: Callable[[int], None],
) -> Chunk:
    """Embed the sources of one chunk, in order; images that cannot be embedded are skipped.

    `tell` is called with the number of images that are done since its last call.
    """
    rows: list[Row] = []
    skipped: list[Skipped] = []
    parts: list[Matrix] = []
    batch: list[Decoded] = []

    def flush() -> None:
        if batch:
            vectors = embed([decoded.pixels for decoded in batch])
            for decoded, vector in zip(batch, vectors, strict=True):
                if np.isfinite(vector).all():
                    rows.append(decoded.row)
                    parts.append(vector[None])
                else:
                    skipped.append(_skip(decoded.row, "the model gave no finite embedding"))
            tell(len(batch))
            batch.clear()

    for result in _ahead(pool, decoding, sources, 4 * batch_size):
        if isinstance(result, Skipped):
            skipped.append(result)
            tell(1)
        else:
            batch.append(result)
        if len(batch) == batch_size:
            flush()
    flush()
    return Chunk(np.concatenate(parts) if parts else np.empty((0, 0), np.float32), rows, skipped)


def _ahead(
    pool: Executor, decoding: Decoding, sources: Iterable[Source], ahead: int
) -> Iterator[Decoded | Skipped]:
    """Decode in `pool`, in order, at most `ahead` images before they are needed."""
    waiting: deque[Future[Decoded | Skipped]] = deque()
    for source in sources:
        waiting.append(pool.submit(decode_source, source, decoding))
        if len(waiting) >= ahead:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()


def decode_source(source: Source, decoding: Decoding) -> Decoded | Skipped:
    """Read, hash, decode and preprocess one image."""
    if source.problem:
        return _skip(source, source.problem)
    try:
        path = decoding.root / source.path
        status, data = path.stat(), path.read_bytes()
        image = images.decode_for(data, decoding.preprocessing, decoding.max_pixels)
        pixels = images.preprocess(image, decoding.preprocessing)
    except OSError as error:
        return _skip(source, error.strerror or "cannot be read", again=True)
    except ServiceError as error:
        return _skip(source, error.detail, again=isinstance(error, (TooLarge, MissingReader)))
    row = Row(
        source.path,
        source.size_bytes,
        source.mtime_ns,
        content_hash(data),
        perceptual_hash(image),
        source.metadata,
    )
    if decoding.renditions:
        image_id = f"{row.content}{location_hash(row.path):016x}"
        for side in decoding.rendition_pixels:
            jpeg = render(data, side, decoding.max_pixels)
            decoding.renditions.put(image_id, side, status, jpeg)
    return Decoded(row, pixels)


def _skip(image: Source | Row, reason: str, *, again: bool = False) -> Skipped:
    return Skipped(image.path, image.size_bytes, image.mtime_ns, reason, again)
