"""The embedding of one chunk: a pure function of its sources. Decoding runs beside the model."""

from collections import deque
from collections.abc import Callable, Container, Iterable, Iterator, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import partial
from itertools import islice
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np

from common.cores import usable_cores
from common.errors import ConfigError, ServiceError, TooLarge
from common.files import content_hash, location_hash
from common.image_files import FileState, read_image_file, state_of
from common.images.facts import facts_of
from common.images.raw import MissingReader
from common.images.renditions import RenditionFolder, render
from common.settings.prepare import Prepare
from common.wire import Matrix
from inference.clip import images
from inference.clip.encoders import ImageTower
from inference.clip.images import Pixels, Preprocessing
from inference.clip.model import Model
from inference.clip.perceptual_hash import perceptual_hash
from prepare.chunks import Chunk, Row, Skipped
from prepare.sources import Source

Item = TypeVar("Item")
Result = TypeVar("Result")
NOT_FINITE = "the model gave no finite embedding"


class Copy(NamedTuple):
    """A file whose content, as hash in hex, has an embedding already, or gets one beside it."""

    source: Source
    content: str


class Decoded(NamedTuple):
    """An image ready for the model."""

    source: Source
    row: Row
    pixels: Pixels


class Decoding(NamedTuple):
    """The settings for reading images; images with a `known` content hash are not decoded."""

    root: Path
    preprocessing: Preprocessing
    max_pixels: int
    renditions: RenditionFolder | None = None
    rendition_pixels: Sequence[int] = ()
    """The longer sides of the renditions that are made for each image."""
    known: Container[str] = ()


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


def image_side(model: Model) -> tuple[ImageTower, Preprocessing]:
    """What embeds images, and how they are prepared for it; raises ConfigError if nothing does."""
    if model.image is None or model.preprocessing is None:
        raise ConfigError(f"Inference.clip: {model.name} embeds no images")
    return model.image, model.preprocessing


@contextmanager
def embedding_on_threads(
    tower: ImageTower, prepare: Prepare
) -> Iterator[tuple[Executor, Embedding]]:
    """Threads that read images, and what embeds them, by the settings."""
    replicas = sum(tower.replicas.values())
    with (
        ThreadPoolExecutor(prepare.threads or usable_cores()) as pool,
        ThreadPoolExecutor(replicas) as devices,
    ):
        size = prepare.batch_size or tower.batch_size
        yield pool, Embedding(tower.embed, size, replicas, devices)


def embed_chunk(
    sources: Sequence[Source],
    decoding: Decoding,
    pool: Executor,
    embedding: Embedding,
    tell: Callable[[int], None],
) -> tuple[Chunk, list[Copy]]:
    """Embed the sources of one chunk, in order, each content once; the copies of one come apart.

    Images that cannot be embedded are skipped. Sources are read in `pool`. `tell` is called with
    the number of images that are done since its last call.
    """
    size, replicas = embedding.batch_size, embedding.replicas
    decoded = ahead(pool, partial(decode_source, decoding=decoding), sources, 4 * size * replicas)
    once = _each_content_once(decoded)
    batches = iter(lambda: list(islice(once, size)), [])
    embed = partial(_embed_batch, embedding.embed)
    done: list[Embedded | Copy | Skipped] = []
    # One batch more than replicas, so that none waits for this thread.
    for batch in ahead(embedding.threads, embed, batches, replicas + 1):
        done += batch
        tell(len(batch))
    embedded = [image for image in done if isinstance(image, Embedded)]
    copies = [image for image in done if isinstance(image, Copy)]
    contents = {row.content for row, _ in embedded}
    failed = {copy.content for copy in copies if copy.content not in decoding.known} - contents
    skipped = [image for image in done if isinstance(image, Skipped)]
    skipped += [_skip(copy.source, NOT_FINITE) for copy in copies if copy.content in failed]
    vectors = [vector for _, vector in embedded]
    chunk = Chunk(
        np.stack(vectors) if vectors else np.empty((0, 0), np.float32),
        [row for row, _ in embedded],
        skipped,
    )
    return chunk, [copy for copy in copies if copy.content not in failed]


def _each_content_once(
    images: Iterable[Decoded | Copy | Skipped],
) -> Iterator[Decoded | Copy | Skipped]:
    """The images, but a copy for each whose content came before."""
    contents = set()
    for image in images:
        if isinstance(image, Decoded) and image.row.content in contents:
            yield Copy(image.source, image.row.content)
            continue
        if isinstance(image, Decoded):
            contents.add(image.row.content)
        yield image


def ahead(
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
    embed: Callable[[Sequence[Pixels]], Matrix], batch: Sequence[Decoded | Copy | Skipped]
) -> list[Embedded | Copy | Skipped]:
    images = [image.pixels for image in batch if isinstance(image, Decoded)]
    vectors = iter(embed(images) if images else ())
    return [
        _checked(image.row, next(vectors)) if isinstance(image, Decoded) else image
        for image in batch
    ]


def _checked(row: Row, vector: Matrix) -> Embedded | Skipped:
    if np.isfinite(vector).all():
        return Embedded(row, vector)
    return _skip(row, NOT_FINITE)


def decode_source(source: Source, decoding: Decoding) -> Decoded | Copy | Skipped:
    """Read and hash one image; decode and preprocess it if its content is not known."""
    if source.problem:
        return _skip(source, source.problem)
    try:
        path = decoding.root / source.path
        state, data = state_of(path), read_image_file(path)
        content = content_hash(data)
        if content in decoding.known:
            _render(source.path, content, state, data, decoding)
            return Copy(source, content)
        image = images.decode_for(data, decoding.preprocessing, decoding.max_pixels)
        pixels = images.preprocess(image, decoding.preprocessing)
    except OSError as error:
        return _skip(source, error.strerror or "cannot be read", again=True)
    except ServiceError as error:
        return _skip(source, error.detail, again=isinstance(error, (TooLarge, MissingReader)))
    row = Row(
        *(source.path, source.size_bytes, source.mtime_ns, content, perceptual_hash(image)),
        facts=facts_of(data),
    )
    _render(source.path, content, state, data, decoding)
    return Decoded(source, row, pixels)


def _render(path: str, content: str, state: FileState, data: bytes, decoding: Decoding) -> None:
    """Make the renditions of an image, as far as that can be."""
    image_id = f"{content}{location_hash(path):016x}"
    if decoding.renditions:
        for side in decoding.rendition_pixels:
            with suppress(ServiceError):  # front makes a rendition that is not there
                jpeg = render(data, side, decoding.max_pixels)
                decoding.renditions.put(image_id, side, state, jpeg)


def _skip(image: Source | Row, reason: str, *, again: bool = False) -> Skipped:
    return Skipped(image.path, image.size_bytes, image.mtime_ns, reason, again)
