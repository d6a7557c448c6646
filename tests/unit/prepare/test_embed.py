"""A chunk of images to embeddings: in order, and what cannot be embedded is told."""

import io
import sys
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from common.errors import Unprocessable
from common.files import content_hash, location_hash
from common.image_files import state_of
from common.images.renditions import RenditionFolder, render
from common.wire import Matrix
from inference.clip.images import Pixels, Preprocessing
from prepare.chunks import Skipped
from prepare.embed import Decoded, Decoding, Embedding, decode_source, embed_chunk
from prepare.sources import Source
from tests.front.pictures import encoded, noise
from tests.raw_photos import dng

PREPROCESSING = Preprocessing(2, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Seven images, each of its own grey, one of them broken."""
    for number in range(7):
        Image.new("RGB", (4, 4), (10 * number,) * 3).save(tmp_path / f"{number}.png")
    (tmp_path / "3.png").write_bytes(b"broken")
    return tmp_path


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    """What decodes."""
    with ThreadPoolExecutor(2) as one:
        yield one


def source(name: str, problem: str | None = None) -> Source:
    return Source(name, 10, 0, {"name": name}, problem)


def embed(images: Sequence[Pixels]) -> Matrix:
    """By their grey; nothing finite for the sixth."""
    greys = [round(float(np.asarray(one).mean()) * 25.5) for one in images]
    return np.array([[np.nan if grey == 6 else grey, 0] for grey in greys], np.float32)


def test_vectors_and_rows_go_together(root: Path, pool: ThreadPoolExecutor) -> None:
    """In the order of their sources; all are counted, and those that failed say why."""
    sources = [source(f"{number}.png") for number in range(7)]
    sources += [source("8.png"), source("9.png", "a link that leads nowhere")]
    told: list[int] = []
    decoding = Decoding(root, PREPROCESSING, 1000)
    embedding = Embedding(embed, 2, 1, pool)
    chunk, copies = embed_chunk(sources, decoding, pool, embedding, told.append)

    assert [row.path for row in chunk.rows] == ["0.png", "1.png", "2.png", "4.png", "5.png"]
    assert chunk.vectors[:, 0].tolist() == [0, 1, 2, 4, 5]
    assert sum(told) == len(sources)
    reasons = {one.path: (one.reason, one.again) for one in chunk.skipped}
    assert set(reasons) == {"3.png", "6.png", "8.png", "9.png"}
    assert reasons["6.png"] == ("the model gave no finite embedding", False)
    assert reasons["8.png"] == ("No such file or directory", True)
    assert reasons["9.png"] == ("a link that leads nowhere", False)
    assert len({row.content for row in chunk.rows}) == 5
    assert copies == []


def test_each_content_is_embedded_once(root: Path, pool: ThreadPoolExecutor) -> None:
    """G: a copy of what is embedded, or of what failed, goes with the first of its content."""
    for name, of in (("a", "0"), ("b", "6"), ("c", "5")):
        (root / f"{name}.png").write_bytes((root / f"{of}.png").read_bytes())
    sources = [source(f"{name}.png") for name in "0ab6c"]
    known = {content_hash((root / "5.png").read_bytes())}
    decoding = Decoding(root, PREPROCESSING, 1000, known=known)
    told: list[int] = []

    embedding = Embedding(embed, 2, 1, pool)
    chunk, copies = embed_chunk(sources, decoding, pool, embedding, told.append)

    assert [row.path for row in chunk.rows] == ["0.png"]
    assert [copy.source.path for copy in copies] == ["a.png", "c.png"]
    assert [one.path for one in chunk.skipped] == ["b.png", "6.png"]
    assert sum(told) == len(sources)


def test_a_chunk_of_nothing_is_empty(root: Path, pool: ThreadPoolExecutor) -> None:
    """No model is asked."""
    embedding = Embedding(embed, 2, 1, pool)
    chunk, copies = embed_chunk([], Decoding(root, PREPROCESSING, 1000), pool, embedding, print)

    assert (chunk.rows, chunk.skipped, copies, chunk.vectors.shape) == ([], [], [], (0, 0))


def test_what_is_too_large_is_tried_again_with_another_limit(root: Path) -> None:
    """What is broken is not."""
    decoding = Decoding(root, PREPROCESSING, 15)
    too_large, broken = (decode_source(source(name), decoding) for name in ("0.png", "3.png"))

    assert getattr(too_large, "again", None) is True
    assert getattr(broken, "again", None) is False


def test_a_raw_photo_is_looked_at_again_once_it_can_be_read(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Kind H: without rawpy the reason says what to install."""
    (root / "photo.dng").write_bytes(dng(encoded(noise(), "JPEG"), noise().size))
    decoding = Decoding(root, PREPROCESSING, 10_000)
    assert isinstance(decode_source(source("photo.dng"), decoding), Decoded)
    monkeypatch.setitem(sys.modules, "rawpy", None)
    monkeypatch.setattr("common.images.decode.JUDGED", {"RAW"})  # a child would have its own

    skipped = decode_source(source("photo.dng"), decoding)

    assert isinstance(skipped, Skipped)
    assert (True, True) == (skipped.again, "pip install rawpy" in skipped.reason)


def test_a_row_has_what_the_camera_tells(root: Path) -> None:
    """It is read with the image, and not asked for again."""
    exif = Image.Exif()
    exif[0x010F] = "Leica"
    (root / "photo.jpg").write_bytes(encoded(noise(), "JPEG", exif=exif.tobytes()))

    decoded = decode_source(source("photo.jpg"), Decoding(root, PREPROCESSING, 10_000))

    assert isinstance(decoded, Decoded)
    assert {"camera": "Leica"} == decoded.row.facts


def test_renditions_are_made_on_request(root: Path) -> None:
    """`Prepare.renditions`: they lie where front looks for them, under the id of the image."""
    folder = RenditionFolder(root / "kept", 10**6)
    decoding = Decoding(root, PREPROCESSING, 1000, folder, [3, 2])

    decoded = decode_source(source("1.png"), decoding)

    assert isinstance(decoded, Decoded)
    image_id = f"{decoded.row.content}{location_hash('1.png'):016x}"
    state = state_of(root / "1.png")
    for side in (3, 2):
        jpeg = folder.get(image_id, side, state)
        assert jpeg
        assert (side, side) == Image.open(io.BytesIO(jpeg)).size
    decode_source(source("2.png"), decoding._replace(rendition_pixels=()))
    assert 2 == len(list((root / "kept").rglob("*.jpg")))


def test_a_rendition_that_cannot_be_made_is_left_out(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It takes more pixels than the embedding: the image, and its other renditions, are there."""

    def fails(data: bytes, pixels: int, max_pixels: int) -> bytes:
        if pixels == 3:
            raise Unprocessable("the image takes too long to decode, or is harmful")
        return render(data, pixels, max_pixels)

    monkeypatch.setattr("prepare.embed.render", fails)
    decoding = Decoding(root, PREPROCESSING, 1000, RenditionFolder(root / "kept", 10**6), [3, 2])

    assert isinstance(decode_source(source("1.png"), decoding), Decoded)
    assert 1 == len(list((root / "kept").rglob("*.jpg")))


def test_each_replica_has_a_batch_without_waiting_for_the_others(
    root: Path, pool: ThreadPoolExecutor
) -> None:
    """The first batch ends after the second one; the rows keep their order."""
    second = threading.Event()

    def late(images: Sequence[Pixels]) -> Matrix:
        rows = embed(images)
        if rows[0, 0] == 0:
            assert second.wait(30)
        else:
            second.set()
        return rows

    sources = [source(f"{number}.png") for number in (0, 1, 2, 4)]
    with ThreadPoolExecutor(2) as devices:
        chunk, _ = embed_chunk(
            sources,
            Decoding(root, PREPROCESSING, 1000),
            pool,
            Embedding(late, 2, 2, devices),
            lambda _: None,
        )

    assert chunk.vectors[:, 0].tolist() == [0, 1, 2, 4]
