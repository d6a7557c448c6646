"""The embedding of one chunk: a pure function of its sources. Decoding runs beside the model."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor, Future
from functools import partial
from itertools import islice
from pathlib import Path
from typing import NamedTuple, TypeVar

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

Item = TypeVar("Item")
Result = TypeVar("Result")


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


class Embedded(NamedTuple):
    """An image with its embedding, float32 [dim]."""

    row: Row
    vector: Matrix


class Embedding(NamedTuple):
    """What embeds a batch, and the threads that call it, one for each replica of the model."""

    embed: Callable[[Sequence[Pixels]], Matrix]
    batch_size: int
    replicas: int
    threads: Executor


def embed_chunk(
    sources: Sequence[Source],
    decoding: Decoding,
    pool: Executor,
    embedding: Embedding,
    tell: Callable[[int], None],
) -> Chunk:
    """Embed the sources of one chunk, in order; images that cannot be embedded are skipped.

    Sources are read in `pool`. `tell` is called with the number of images that are done since its
    last call.
    """
    size, replicas = embedding.batch_size, embedding.replicas
    decoded = _ahead(pool, partial(decode_source, decoding=decoding), sources, 4 * size * replicas)
    batches = iter(lambda: list(islice(decoded, size)), [])
    embed = partial(_embed_batch, embedding.embed)
    done: list[Embedded | Skipped] = []
    # One batch more than replicas, so that none waits for this thread.
    for batch in _ahead(embedding.threads, embed, batches, replicas + 1):
        done += batch
        tell(len(batch))
    embedded = [image for image in done if isinstance(image, Embedded)]
    return Chunk(
        np.stack([vector for _, vector in embedded]) if embedded else np.empty((0, 0), np.float32),
        [row for row, _ in embedded],
        [image for image in done if isinstance(image, Skipped)],
    )


def _ahead(
    pool: Executor, call: Callable[[Item], Result], items: Iterable[Item], ahead: int
) -> Iterator[Result]:
    """The results of `call` in `pool`, in order, at most `ahead` before they are needed."""
    waiting: deque[Future[Result]] = deque()
    for item in items:
        waiting.append(pool.submit(call, item))
        if len(waiting) >= ahead:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()


def _embed_batch(
    embed: Callable[[Sequence[Pixels]], Matrix], batch: Sequence[Decoded | Skipped]
) -> list[Embedded | Skipped]:
    images = [image.pixels for image in batch if isinstance(image, Decoded)]
    vectors = iter(embed(images) if images else ())
    return [
        image if isinstance(image, Skipped) else _checked(image.row, next(vectors))
        for image in batch
    ]


def _checked(row: Row, vector: Matrix) -> Embedded | Skipped:
    if np.isfinite(vector).all():
        return Embedded(row, vector)
    return _skip(row, "the model gave no finite embedding")


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
