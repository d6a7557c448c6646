"""What embeds in the inference server, around towers that are quick."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from io import BytesIO
from threading import Event
from typing import Any, ClassVar, cast

import numpy as np
import pytest
from PIL import Image

from common.config import Inference
from common.errors import BadRequest
from common.wire import Matrix, unpack_rows
from inference.clip.classifier import Classifier
from inference.clip.encoders import ImageTower, Prepared, TextTower
from inference.clip.images import Preprocessing, decode_for
from inference.clip.model import Model
from inference.clip.perceptual_hash import perceptual_hash
from inference.messages import EmbedReply, EmbedRequest, Logits
from inference.served_model import ServedModel

POISON, ODD = "poison", "odd"
PREPROCESSING = Preprocessing(2, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))


class Texts:
    """Embeds a text as its length; poison fails a batch, an odd one has no finite embedding."""

    replicas: ClassVar = {"cpu": 1}

    def __init__(self) -> None:
        self.batches: list[list[str]] = []

    def prepare(self, text: str) -> Prepared:
        return Prepared(text, "cut" if len(text) > 9 else None, len(text))

    def embed(self, values: Sequence[Any], _kind: str) -> Matrix:
        self.batches.append(list(values))
        if POISON in values:
            raise ValueError("out of range")
        return np.array([[np.nan if one == ODD else len(one), 0] for one in values], np.float32)


class Images:
    """Embeds every image alike."""

    replicas: ClassVar = {"cpu": 1}

    def embed(self, images: Sequence[Any], _kind: str) -> Matrix:
        return np.array([[0, 1]] * len(images), np.float32)


class Classes:
    """Has two classes, and is sure."""

    labels: ClassVar = ["cat", "dog", "cow"]

    def probabilities(self, images: Sequence[Any], _kind: str) -> Matrix:
        return np.array([[1, 0, 0]] * len(images), np.float32)


JPEG = Inference(query_formats=("jpeg",))


def png() -> bytes:
    file = BytesIO()
    Image.new("RGB", (4, 4)).save(file, "PNG")
    return file.getvalue()


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    """What decodes images."""
    with ThreadPoolExecutor(2) as one:
        yield one


def served(pool: ThreadPoolExecutor, **parts: Any) -> ServedModel:
    towers = {"text": Texts(), "image": Images(), "classifier": None, **parts}
    model = Model(
        "clip",
        2,
        "space",
        cast(TextTower | None, towers["text"]),
        cast(ImageTower | None, towers["image"]),
        PREPROCESSING,
        Logits(),
        cast(Classifier | None, towers["classifier"]),
        "digest",
    )
    return ServedModel("clip", model, "space", parts.get("settings", Inference()), pool)


def embed(one: ServedModel, **request: Any) -> EmbedReply:
    """What a started model answers; it is closed then."""
    return answer(one, EmbedRequest(**request))


def answer(one: ServedModel, request: EmbedRequest) -> EmbedReply:
    """The same to a request."""
    one.start()
    try:
        return one.embed(request)
    finally:
        one.close()


def test_texts_are_rows_in_order(pool: ThreadPoolExecutor) -> None:
    """With their warnings, by their places."""
    reply = embed(served(pool), texts=["a", "a long text", "abc"])

    assert unpack_rows(reply.rows, reply.dim)[:, 0].tolist() == [1, 11, 3]
    assert reply.warnings == {1: "cut"}
    assert (reply.model, reply.space, reply.problems) == ("clip", "space", {})


def test_short_texts_go_together_and_before_long_ones(pool: ThreadPoolExecutor) -> None:
    """Kind F: a long text is alone, so that what comes meanwhile waits for one at most."""
    texts = Texts()
    one = served(pool, text=texts)
    going = one.begin(EmbedRequest(texts=["long " * 99, "ab", "cd", "long " * 99]))
    one.start()
    going()
    one.close()

    assert texts.batches == [["ab", "cd"], ["long " * 99], ["long " * 99]]


def test_an_input_fails_alone(pool: ThreadPoolExecutor) -> None:
    """One that breaks its batch, one without a finite embedding, one that is no image."""
    reply = embed(served(pool), texts=["a", POISON, ODD])
    assert {place: one.code for place, one in reply.problems.items()} == {
        1: "internal",
        2: "no_embedding",
    }
    assert unpack_rows(reply.rows, 2)[0].tolist() == [1, 0]

    images = embed(served(pool), images=[png(), b"no image"])
    assert list(images.problems) == [1]
    assert images.problems[1].status == 415


def test_only_formats_that_may_be_sent_are_decoded(pool: ThreadPoolExecutor) -> None:
    """The switch before decoders that nobody needs: `query-formats`."""
    jpegs_alone = embed(served(pool, settings=JPEG), images=[png()])

    assert "not an image in a format that is read (JPEG)" == jpegs_alone.problems[0].detail


def test_what_nobody_foresaw_is_logged(
    pool: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The caller is told no more than that it went wrong."""
    monkeypatch.setattr(Model, "pixels", lambda *_: 1 / 0)
    reply = embed(served(pool), images=[png(), b"no image"])

    assert [500, 415] == [reply.problems[slot].status for slot in range(2)]
    (line,) = caplog.records
    assert "division by zero" in (line.exc_text or "")


def test_images_are_hashed_if_it_is_asked_for(pool: ThreadPoolExecutor) -> None:
    """As prepare hashes them; a broken one has no hash, and without a wish none has."""
    asked = embed(served(pool), images=[b"no image", png()], perceptual=True)
    decoded = decode_for(png(), PREPROCESSING, 100)

    assert asked.perceptual == {1: perceptual_hash(decoded)}
    assert embed(served(pool), images=[png()]).perceptual == {}


def test_a_request_is_for_one_kind(pool: ThreadPoolExecutor) -> None:
    """Texts or images, not both and not neither."""
    for request in ({}, {"texts": ["a"], "images": [b"x"]}):
        with pytest.raises(BadRequest, match="one of the two"):
            embed(served(pool), **request)


def test_a_region_is_a_part_of_its_image(pool: ThreadPoolExecutor) -> None:
    """One without a width is refused before an image is decoded."""
    with pytest.raises(BadRequest, match="region"):
        embed(served(pool), images=[png()], regions={0: (0.5, 0.0, 0.5, 1.0)})


@pytest.mark.parametrize(
    ("tower", "request_"), [("text", {"texts": ["a"]}), ("image", {"images": [b"x"]})]
)
def test_a_model_without_a_tower_says_so(
    pool: ThreadPoolExecutor, tower: str, request_: dict[str, Any]
) -> None:
    """It can be asked for the other kind."""
    with pytest.raises(BadRequest) as told:
        embed(served(pool, **{tower: None}), **request_)
    assert told.value.code == "model_unavailable"


def test_classes_are_told_where_there_is_a_classifier(pool: ThreadPoolExecutor) -> None:
    """Else the embedding is."""
    with_classes = embed(served(pool, classifier=Classes()), images=[png()], classify=True)
    assert with_classes.labels == Classes.labels
    assert unpack_rows(with_classes.rows, 3).tolist() == [[1, 0, 0]]
    without = embed(served(pool), images=[png()], classify=True)
    assert without.labels == []


def test_a_model_describes_itself(pool: ThreadPoolExecutor) -> None:
    """By the digest of all that makes its embeddings: another space is another digest."""
    reply = embed(served(pool), describe=True)

    assert reply.rows == b""
    assert len(reply.digest) == 64


def test_who_was_answered_late_leaves_no_images_behind(pool: ThreadPoolExecutor) -> None:
    """Though all that decode are busy, and have not come to them yet."""
    is_over = Event()
    busy = [pool.submit(is_over.wait) for _ in range(2)]
    request = EmbedRequest(images=[png()] * 3, deadline_ms=1)
    try:
        reply = answer(served(pool), request)
    finally:
        is_over.set()
    wait(busy)

    assert {one.code for one in reply.problems.values()} == {"deadline_exceeded"}
    assert request.images == []
