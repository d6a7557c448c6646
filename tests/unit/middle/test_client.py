"""The client of middle: what front asks, and how long it waits."""

import asyncio

import msgspec
import pytest

from common.deadline import DEADLINE_HEADER
from common.errors import DeadlineExceeded, InvalidResponse, Unavailable
from middle import client
from middle.client import GRACE_S, MiddleClient
from middle.messages import ClassifyQuery, EmbedQuery, Image, Query
from middle.segment_messages import SegmentQuery
from middle.write_messages import PatchQuery, PutAnswer, PutQuery, Written
from tests.unit.fake_http import FakeHttp, hang, saying

ADDRESSES = ["server-0:80", "server-1:80"]


@pytest.fixture
def http(monkeypatch: pytest.MonkeyPatch) -> FakeHttp:
    """What the client reaches instead of a socket."""
    one = FakeHttp(dict.fromkeys(ADDRESSES, saying(b"{}")), "/none")
    monkeypatch.setattr(client, "HttpClient", lambda _inside: one.client)
    return one


def soon(seconds: float = 5.0) -> float:
    return asyncio.get_running_loop().time() + seconds


async def test_queries_go_as_messages_and_answers_come_as_they_are(http: FakeHttp) -> None:
    """A wish for nothing kept goes along."""
    middle = MiddleClient(ADDRESSES[:1], 2000)
    assert (await middle.search(Query(text="red"), soon())).body == b"{}"
    assert (await middle.embed(EmbedQuery(texts=["red"]), soon(), bypass=True)).body == b"{}"
    assert (await middle.classify(ClassifyQuery(images=[b"x"]), soon())).body == b"{}"

    assert (await middle.segment(SegmentQuery(image=b"x"), soon())).body == b"{}"

    requests = [one.request for one in http.sent]
    assert [one.path for one in requests] == ["/search", "/embed", "/classify", "/segment"]
    assert ["Cache-Control" in one.headers for one in requests] == [False, True, False, False]
    body = requests[0].body
    assert body is not None
    assert msgspec.msgpack.decode(body.body, type=Query) == Query(text="red")


async def test_what_was_written_is_asked_for_as_it_is_then(http: FakeHttp) -> None:
    """At its position; each write goes to one server, on a connection of its own."""
    http.answers = dict.fromkeys(ADDRESSES, saying(b'{"id":"a1","position":7}'))
    middle = MiddleClient(ADDRESSES, 2000)
    put = PutQuery(image=b"x", path="x.jpg")
    written = [
        await middle.put(put, soon()),
        await middle.patch("a1", PatchQuery({"stock": 1}), soon()),
        await middle.delete("a1", soon()),
    ]
    image = saying(msgspec.json.encode(Image("a1", "a.jpg", {}, "a.jpg")))
    http.answers = dict.fromkeys(ADDRESSES, image)
    await middle.image("a1")
    await middle.image("b2")

    assert written == [PutAnswer("a1", 7), Written("a1", 7), Written("a1", 7)]
    asked = [(one.request.method, one.request.path, one.new_connection) for one in http.sent]
    assert asked == [
        ("POST", "/images", True),
        ("PATCH", "/images/a1", True),
        ("DELETE", "/images/a1", True),
        ("GET", "/images/a1?min_position=7", False),
        ("GET", "/images/b2", False),
    ]
    await middle.close()


async def test_middle_is_waited_for_a_little_longer_than_its_deadline(http: FakeHttp) -> None:
    """It answers by then itself, degraded or with an error."""
    http.answers[ADDRESSES[0]] = saying(b"late", after_s=2 + GRACE_S / 4)
    middle = MiddleClient(ADDRESSES[:1], 2000)
    assert (await middle.search(Query(text="red"), soon(2))).body == b"late"
    await middle.close()


@pytest.mark.parametrize("left_s", [0.04, 0.2, 2.0, 60.0])
async def test_the_wait_leaves_time_for_front_s_own_answer(http: FakeHttp, left_s: float) -> None:
    """Kind J: middle hangs; what front tells its client must leave within 100 ms."""
    http.answers[ADDRESSES[0]] = hang
    middle = MiddleClient(ADDRESSES[:1], 2000)
    deadline = soon(left_s)
    with pytest.raises(DeadlineExceeded):
        await middle.search(Query(text="red"), deadline)
    told_ms = int(http.sent[0].headers[DEADLINE_HEADER])
    assert 0.7 * left_s < told_ms / 1000 < left_s
    assert deadline < soon(0) <= deadline + GRACE_S - min(0.05, left_s / 4) + 1e-6
    await middle.close()


async def test_what_else_front_asks(http: FakeHttp) -> None:
    """An image by its id, what there is, whether it is ready; a purge goes to every server."""
    middle = MiddleClient(ADDRESSES, 2000)
    image = Image("1", "a.jpg", {"year": 2020}, "/srv/a.jpg")
    http.answers = dict.fromkeys(ADDRESSES, saying(msgspec.json.encode(image)))
    assert await middle.image("1/../2") == image
    assert await middle.info() == msgspec.json.encode(image)
    await middle.ready()
    await middle.purge()

    paths = [one.request.path for one in http.sent]
    assert paths == ["/images/1%2F..%2F2", "/info", "/ready", "/cache", "/cache"]
    assert {one.address for one in http.sent[-2:]} == set(ADDRESSES)


@pytest.mark.parametrize("body", [b"", b"\xff", b'{"id":1}', b'{"path":"\xff"}'])
async def test_an_image_that_cannot_be_read_is_no_answer(http: FakeHttp, body: bytes) -> None:
    """As from something else that listens there."""
    http.answers[ADDRESSES[0]] = saying(body)
    with pytest.raises(InvalidResponse):
        await MiddleClient(ADDRESSES[:1], 2000).image("1")


async def test_a_purge_that_a_server_did_not_take_is_an_error(http: FakeHttp) -> None:
    """It still answers with what it kept."""
    http.answers[ADDRESSES[1]] = saying(b'{"status":503,"code":"overloaded"}', 503)
    with pytest.raises(Unavailable):
        await MiddleClient(ADDRESSES, 2000).purge()
