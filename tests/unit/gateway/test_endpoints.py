"""The endpoints over a middle without a model: what is asked, what is written, what is refused."""

import math
import time

import numpy as np
import pytest

from common.config import Inference
from common.errors import BadRequest, NotFound, NotImplementedHere, ServiceError
from gateway.documents import array_of
from gateway.embedder import Embedder
from gateway.endpoints import Endpoints, endpoint_of
from gateway.indexing import Indexer
from gateway.retrying import RetryingMiddle
from gateway.wire import DataRequest, Document, Message
from middle.messages import MAX_INPUTS, MAX_TEXT
from tests.unit.gateway.fake_middle import BAD, FakeMiddle, vector_of

MAX_BYTES = 1000


def request(*documents: Message, **parameters: object) -> Message:
    made = DataRequest()
    made.data.docs.docs.extend(documents)
    made.parameters.update(parameters)
    return made


def endpoints(middle: FakeMiddle, mclip: str | None = "auto") -> Endpoints:
    asked = RetryingMiddle(middle, 10, 30)
    inference = Inference(clip="ViT-B-32::openai", mclip=mclip)
    indexer = Indexer(asked, None, time.monotonic)
    return Endpoints(asked, Embedder(asked, MAX_BYTES), indexer, inference)


async def ask(middle: FakeMiddle, path: str, asked: Message) -> list[str]:
    return await endpoints(middle).answer(endpoint_of(path), asked)


def is_embedded(document: Message, content: str | bytes) -> bool:
    vector = array_of(document.embedding)
    return bool(np.allclose(vector, vector_of(content))) and vector.dtype == "<f4"


async def test_texts_and_images_are_asked_for_apart_and_put_in_place() -> None:
    """In few questions, each of one kind."""
    middle = FakeMiddle()
    contents: list[str | bytes] = ["a", b"image", "abc", b"im", "ab"]
    asked = request(
        *(Document(text=c) if isinstance(c, str) else Document(blob=c) for c in contents)
    )
    await ask(middle, "/encode", asked)

    found = zip(asked.data.docs.docs, contents, strict=True)
    assert all(is_embedded(document, content) for document, content in found)
    assert len(middle.embedded) == 2
    assert asked.data.docs.docs[1].blob == b"image"  # not asked to drop it


async def test_questions_stay_within_the_limits_of_middle() -> None:
    """So many texts, so many images, so many bytes; at most two questions at a time."""
    middle = FakeMiddle(takes_s=1)
    texts = [Document(text="a" * (1 + i % 9)) for i in range(200)]
    images = [Document(blob=b"b" * 400) for _ in range(6)]
    asked = request(*texts, *images)
    await ask(middle, "/encode", asked)

    assert all(is_embedded(one, one.text or one.blob) for one in asked.data.docs.docs)
    assert all(len(query.texts) <= MAX_INPUTS for query in middle.embedded)
    assert all(sum(map(len, query.images)) <= MAX_BYTES for query in middle.embedded)
    assert middle.most_under_way <= 2 * MAX_INPUTS


async def test_a_bad_document_is_named() -> None:
    """By its place in the request and its id, whichever question it was in."""
    asked = request(*(Document(id=f"d{i}", text=BAD if i == 70 else "a") for i in range(80)))
    with pytest.raises(ServiceError, match=r"document 70 \(d70\): it is bad"):
        await ask(FakeMiddle(), "/encode", asked)


@pytest.mark.parametrize(
    ("document", "message"),
    [
        (Document(uri="https://a.example/cat.jpg"), "fetches no addresses"),
        (Document(uri="/etc/passwd"), "fetches no addresses"),
        (Document(uri="data:image/png;base64,a"), "invalid base64"),
        (Document(blob=b"b" * (MAX_BYTES + 1)), "1000 is the limit"),
    ],
)
async def test_what_is_not_sent_or_too_large_is_refused(document: Message, message: str) -> None:
    """Nothing is read or fetched for a client."""
    middle = FakeMiddle()
    with pytest.raises(ServiceError, match=message):
        await ask(middle, "/encode", request(Document(text="a"), document))

    assert middle.embedded == []


async def test_long_texts_are_cut_with_a_warning() -> None:
    """Warnings of middle name the document, too."""
    middle = FakeMiddle()
    long = Document(id="x", text="a" * (MAX_TEXT + 1))
    warnings = await ask(middle, "/encode", request(long, Document(id="y", text="long")))

    assert middle.embedded[0].texts[0] == "a" * MAX_TEXT
    assert long.text == "a" * (MAX_TEXT + 1)
    assert warnings == [
        f"document 0 (x): the text is cut after {MAX_TEXT} characters",
        "document 1 (y): it is long",
    ]


async def test_a_document_without_content_stays_as_it_is() -> None:
    """`profile()` sends one."""
    asked = request(Document(id="x"))
    await ask(FakeMiddle(), "/", asked)

    assert not asked.data.docs.docs[0].HasField("embedding")


async def test_matches_are_ranked() -> None:
    """Best first, with a softmax of 100 times the cosine; images are dropped if asked for."""
    query = Document(text="abc")
    query.matches.extend(Document(text="a" * n) for n in (9, 3, 5))
    query.matches.append(Document(blob=b"image"))
    asked = request(query, drop_image_content=True)
    await ask(FakeMiddle(), "/rank", asked)

    matches = asked.data.docs.docs[0].matches
    assert [match.text for match in matches][:2] == ["aaa", "aaaaa"]
    cosines = [np.dot(vector_of("abc"), vector_of(c)) for c in ("aaa", "a" * 5, "a" * 9, b"image")]
    powers = np.exp(100 * np.array(cosines))
    scores = [match.scores["clip_score"].value for match in matches]
    assert np.allclose(scores, sorted(powers / powers.sum(), reverse=True), atol=1e-6)
    assert not any(match.HasField("embedding") or match.blob for match in matches)


@pytest.mark.parametrize("path", ["/rank", "/search"])
async def test_nothing_to_compare_is_refused(path: str) -> None:
    """A document without content, or without matches."""
    good = Document(text="a", matches=[Document(text="b")])
    with pytest.raises(ServiceError, match=r"document 1 \(x\): it has n"):
        await ask(FakeMiddle(), path, request(good, Document(id="x")))


async def test_hits_become_matches_with_a_distance() -> None:
    """And a degraded answer says so."""
    middle = FakeMiddle()
    asked = request(Document(text="red"), limit=3.0)
    warnings = await ask(middle, "/search", asked)

    (match,) = asked.data.docs.docs[0].matches
    assert (match.id, match.uri, match.tags["n"]) == ("red", "a.jpg", 1)
    assert match.scores["cosine"].value == 0.25
    assert (middle.searched[0].k, middle.searched[0].text) == (3, "red")
    assert warnings == ["document 0 (): only 50% of the index answered"]


@pytest.mark.parametrize("limit", [0, 1001, 1.5, True, "10", math.nan, math.inf])
async def test_a_wrong_limit_is_refused(limit: object) -> None:
    """Before anything is searched."""
    with pytest.raises(BadRequest, match="limit"):
        await ask(FakeMiddle(), "/search", request(Document(text="red"), limit=limit))


@pytest.mark.parametrize(
    ("path", "name", "model"),
    [
        ("/encode", None, "clip"),
        ("/encode/clip", None, "clip"),
        ("/encode/ViT-B-32::openai", None, "clip"),
        ("/encode/mclip", None, "mclip"),
        ("encode", "mclip", "mclip"),
    ],
)
async def test_models_by_name(path: str, name: str | None, model: str) -> None:
    """In the path or in the parameters; never `auto`, whose vectors differ by language."""
    middle = FakeMiddle()
    parameters = {"model_name": name} if name else {}
    await ask(middle, path, request(Document(text="a"), **parameters))

    assert middle.embedded[0].model == model


async def test_what_is_not_served_says_what_is() -> None:
    """Other models, other endpoints, other paths in a document, and indexing without a log."""
    text = Document(text="a")
    with pytest.raises(BadRequest, match=r"'RN50'.*ViT-B-32::openai"):
        await ask(FakeMiddle(), "/encode/RN50", request(text))
    with pytest.raises(BadRequest, match="no model 'mclip'"):
        await endpoints(FakeMiddle(), None).answer(endpoint_of("/encode/mclip"), request(text))
    with pytest.raises(NotFound, match="/encode"):
        endpoint_of("/delete")
    with pytest.raises(BadRequest, match="access_paths"):
        await ask(FakeMiddle(), "/encode", request(text, access_paths="@c"))
    with pytest.raises(NotImplementedHere, match=r"prepare/prepare\.py"):
        await ask(FakeMiddle(), "/index", request(text))
