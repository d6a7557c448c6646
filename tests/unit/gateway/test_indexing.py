"""Documents that are indexed: what is put of them, what is refused, who waits for what."""

from pathlib import Path

import pytest

from common.config import parse
from common.errors import ServiceError, Unavailable
from common.uploads import Uploads
from devtools.fake_clock import FakeClock
from gateway.documents import array_of
from gateway.embedder import Embedder
from gateway.endpoints import Endpoints, endpoint_of
from gateway.indexing import SEEN_S, Indexer
from gateway.retrying import RetryingMiddle
from gateway.wire import DataRequest, Document, Message
from tests.unit.gateway.fake_middle import BAD, FakeMiddle, vector_of

PNG = b"\x89PNG\r\n\x1a\n"
"""The folder of uploads knows an image by its first bytes; middle decodes the rest."""


def request(*documents: Message, **parameters: object) -> Message:
    made = DataRequest()
    made.data.docs.docs.extend(documents)
    made.parameters.update(parameters)
    return made


class Gateway:
    """Endpoints that put into a folder."""

    def __init__(self, folder: Path) -> None:
        self.middle = FakeMiddle()
        self.clock = FakeClock()
        self.uploads = folder / "data/uploads"
        config = parse('{"Inference": {"mclip": "auto"}}')
        asked = RetryingMiddle(self.middle, 10, 30)
        indexer = Indexer(asked, Uploads(config, folder), self.clock)
        self.endpoints = Endpoints(asked, Embedder(asked, 1000), indexer, config.inference)

    async def ask(self, path: str, asked: Message) -> list[str]:
        return await self.endpoints.answer(endpoint_of(path), asked)

    def kept(self) -> list[bytes]:
        """What the folder of uploads holds."""
        return sorted(path.read_bytes() for path in self.uploads.glob("*"))


@pytest.fixture
def gateway(tmp_path: Path) -> Gateway:
    return Gateway(tmp_path)


async def test_images_are_put_with_their_tags_and_uri(gateway: Gateway) -> None:
    """Whole numbers are whole again; each document gets its embedding."""
    tags = {"stock": 3, "price": 1.5, "new": True, "name": "a cat", "old": None}
    first = Document(id="a", blob=PNG, uri="photos/cat.png", tags=tags)
    second = Document(blob=PNG + b"2", uri="data:image/png;base64,AA==")
    asked = request(first, second, drop_image_content=True)
    await gateway.ask("/index", asked)

    put, other = sorted(gateway.middle.written, key=lambda query: len(query.image))
    assert put.metadata == {**tags, "uri": "photos/cat.png"}
    assert [type(put.metadata[name]) for name in ("stock", "price", "new")] == [int, float, bool]
    assert other.metadata == {}
    assert put.facts["size"] == len(PNG)
    assert gateway.kept() == [PNG, PNG + b"2"]
    for document, image in zip(asked.data.docs.docs, (PNG, PNG + b"2"), strict=True):
        assert array_of(document.embedding) == pytest.approx(vector_of(image))
        assert not document.blob
    assert (gateway.uploads.parents[1] / put.path).read_bytes() == PNG


@pytest.mark.parametrize(
    ("document", "message"),
    [
        (Document(text="a cat"), "it is a text; images alone"),
        (Document(), "it has no content"),
        (Document(blob=PNG, tags={"a": [1]}), "the tag 'a'"),
        (Document(blob=PNG, tags={"a": {"b": 1}}), "the tag 'a'"),
        (Document(blob=PNG + bytes(1000)), "1000 is the limit"),
        (Document(uri="https://a.example/cat.jpg"), "fetches no addresses"),
    ],
)
async def test_a_document_that_is_no_image_is_named(
    gateway: Gateway, document: Message, message: str
) -> None:
    """Before anything is put or kept."""
    document.id = "x"
    with pytest.raises(ServiceError, match=r"document 1 \(x\): ") as refused:
        await gateway.ask("/index", request(Document(blob=PNG), document))
    assert message in refused.value.detail
    assert gateway.middle.written == []
    assert gateway.kept() == []


@pytest.mark.parametrize("image", [b"<svg>", PNG + BAD.encode()])
async def test_an_image_that_is_refused_is_named_and_not_kept(
    gateway: Gateway, image: bytes
) -> None:
    """By its first bytes, or by middle; the others are put."""
    asked = request(Document(blob=image), Document(blob=PNG))
    with pytest.raises(ServiceError, match=r"document 0 \(\): "):
        await gateway.ask("/index", asked)

    assert [query.image for query in gateway.middle.written] == gateway.kept() == [PNG]


async def test_an_unknown_model_is_named(gateway: Gateway) -> None:
    """As by encode."""
    with pytest.raises(ServiceError, match="RN50"):
        await gateway.ask("/index/RN50", request(Document(blob=PNG)))
    await gateway.ask("/index/mclip", request(Document(blob=PNG)))


async def test_a_search_waits_for_what_was_put_just_now(gateway: Gateway) -> None:
    """For a while: later, a server that lags for other reasons may answer, too."""
    search = request(Document(text="red"), limit=3.0)
    await gateway.ask("/search", search)
    await gateway.ask("/index", request(Document(blob=PNG), Document(blob=PNG + b"2")))
    await gateway.ask("/search", search)
    gateway.clock.advance(SEEN_S)
    await gateway.ask("/search", search)

    assert [query.min_position for query in gateway.middle.searched] == [0, 2, 0]


async def test_overload_is_waited_out_and_a_full_index_is_told(gateway: Gateway) -> None:
    """A file stays while nobody knows whether its image was put."""
    gateway.middle.failures.extend([Unavailable("the log hangs", "log_unavailable")] * 3)
    await gateway.ask("/index", request(Document(blob=PNG)))
    assert len(gateway.middle.written) == 1
    gateway.middle.failures.append(Unavailable("run prepare", "live_full"))
    with pytest.raises(ServiceError, match="run prepare"):
        await gateway.ask("/index", request(Document(blob=PNG + b"2")))
    assert gateway.kept() == [PNG, PNG + b"2"]


async def test_a_hit_has_the_uri_that_its_client_gave(gateway: Gateway) -> None:
    """A field of its metadata; else its path."""
    asked = request(Document(text="red"), limit=3.0)
    gateway.middle.metadata = {"uri": "photos/cat.png"}
    await gateway.ask("/search", asked)
    assert asked.data.docs.docs[0].matches[0].uri == "photos/cat.png"
