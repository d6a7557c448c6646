"""A stream: read as far as there is room, answered in full, and nobody waits for a slow reader."""

import asyncio
import time
from collections.abc import AsyncIterator

import pytest

from common.config import Inference
from common.errors import RateLimited
from gateway.access import Caller
from gateway.answering import Answering
from gateway.embedder import Embedder
from gateway.endpoints import Endpoints
from gateway.indexing import Indexer
from gateway.retrying import RetryingMiddle
from gateway.stream import IDLE_S, MAX_UNSENT, Stream, until_idle
from gateway.wire import ERROR, DataRequest, Document, Message
from tests.unit.gateway.fake_middle import BAD, FakeMiddle


def answering(middle: FakeMiddle, documents: int = 8, requests: int = 1000) -> Answering:
    asked = RetryingMiddle(middle, 10, 30)
    indexer = Indexer(asked, None, time.monotonic)
    endpoints = Endpoints(asked, Embedder(asked, 1000), indexer, Inference())
    return Answering(endpoints, documents, requests)


def message(name: str, *texts: str, endpoint: str = "/encode") -> bytes:
    request = DataRequest()
    request.header.request_id, request.header.exec_endpoint = name, endpoint
    request.data.docs.docs.extend(Document(text=text) for text in texts)
    return bytes(request.SerializeToString())


class Client:
    """Sends messages, and keeps the replies by their request ids."""

    def __init__(self, *messages: bytes) -> None:
        self.messages = messages
        self.read = 0
        self.replies: dict[str, Message] = {}
        self.reads = asyncio.Event()
        self.reads.set()
        self.refusals: list[RateLimited] = []
        self.caller = Caller("192.0.2.1", may_write=False)

    async def send(self, data: bytes) -> None:
        await self.reads.wait()
        reply = DataRequest.FromString(data)
        self.replies[reply.header.request_id] = reply

    async def sent(self) -> AsyncIterator[bytes]:
        for data in self.messages:
            self.read += 1
            yield data

    async def run(self, answers: Answering) -> None:
        await Stream(answers, "test", self.caller, self.send, self.turn).run(self.sent())

    async def turn(self, _caller: Caller) -> None:
        if self.refusals and self.read > 2:
            raise self.refusals.pop()


@pytest.mark.parametrize(("documents", "requests"), [(8, 1000), (1000, 4)])
async def test_what_is_in_hand_is_bounded_over_all_streams(documents: int, requests: int) -> None:
    """By documents or by requests: the rest stays unread, and all are answered."""
    middle = FakeMiddle(takes_s=1)
    answers = answering(middle, documents, requests)
    clients = [Client(*(message(f"{i}", "a", "b") for i in range(50))) for _ in range(3)]
    running = asyncio.gather(*(client.run(answers) for client in clients))
    await asyncio.sleep(0.5)
    assert sum(client.read for client in clients) == 4 + len(clients)  # each read one ahead
    await running

    assert middle.most_under_way <= 8
    assert all(len(client.replies) == 50 for client in clients)
    assert answers.requests.taken == answers.bytes.taken == 0


async def test_a_client_that_does_not_read_stops_itself_alone() -> None:
    """Its requests give their room to others; it is read only so far."""
    answers = answering(FakeMiddle())
    slow, quick = (Client(*(message(f"{i}", "a") for i in range(500))) for _ in range(2))
    slow.reads.clear()
    waiting = asyncio.create_task(slow.run(answers))
    await quick.run(answers)
    await asyncio.sleep(1)

    assert len(quick.replies) == 500
    assert slow.read == MAX_UNSENT + 1
    slow.reads.set()
    await waiting
    assert len(slow.replies) == 500


async def test_an_error_is_a_reply_and_the_stream_goes_on() -> None:
    """Of one request alone; also of what is no request at all."""
    client = Client(message("bad", "a", BAD), b"\xff", message("good", "a"))
    await client.run(answering(FakeMiddle()))

    bad = client.replies["bad"]
    assert (bad.header.status.code, len(bad.data.docs.docs)) == (ERROR, 0)
    assert bad.header.status.description == "document 1 (): it is bad"
    assert client.replies[""].header.status.code == ERROR
    assert client.replies["good"].data.docs.docs[0].HasField("embedding")


async def test_a_request_over_the_rate_is_refused_by_its_id() -> None:
    """Its reply tells why, and the requests after it are answered."""
    client = Client(*(message(f"{i}", "a") for i in range(6)))
    client.refusals = [RateLimited("over the rate", 3)]
    await client.run(answering(FakeMiddle()))

    codes = {name: reply.header.status.code for name, reply in client.replies.items()}
    assert codes == {"0": 0, "1": 0, "2": ERROR, "3": 0, "4": 0, "5": 0}
    assert client.replies["2"].header.status.exception.name == "rate_limited"


async def test_an_image_takes_the_room_of_four_texts() -> None:
    """So that all that is in hand is answered within the deadline."""
    middle = FakeMiddle(takes_s=1)
    request = DataRequest()
    request.header.exec_endpoint = "/encode"
    request.data.docs.docs.extend([Document(blob=b"1"), Document(uri="data:,x")])
    client = Client(*[bytes(request.SerializeToString())] * 10)
    await client.run(answering(middle, documents=16))

    assert middle.most_under_way == 4


async def test_replies_have_the_times_that_profile_divides_by() -> None:
    """Two routes of at least a millisecond."""
    client = Client(message("a", "a"))
    await client.run(answering(FakeMiddle()))

    routes = client.replies["a"].routes
    assert len(routes) == 2
    assert all(r.end_time.ToMilliseconds() > r.start_time.ToMilliseconds() for r in routes)


async def test_a_client_that_is_gone_leaves_its_room() -> None:
    """Whatever it had sent."""
    answers = answering(FakeMiddle(takes_s=5))
    client = Client(*(message(f"{i}", "a") for i in range(50)))
    running = asyncio.create_task(client.run(answers))
    await asyncio.sleep(1)
    assert answers.requests.taken == 9  # one of them waits for room for its document
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running

    assert answers.requests.taken == answers.bytes.taken == 0


async def test_who_may_only_search_puts_nothing() -> None:
    """Also within a stream that has begun; with the right to write, the next thing is asked."""
    client = Client(
        message("0", "a", endpoint="/index"),
        message("1", "a"),
        message("2", "a", endpoint="/index/clip"),
    )
    await client.run(answering(FakeMiddle()))
    names = [client.replies[f"{i}"].header.status.exception.name for i in range(3)]
    assert names == ["forbidden", "", "forbidden"]
    client.caller = Caller("key anna")
    await client.run(answering(FakeMiddle()))
    assert client.replies["0"].header.status.exception.name == "no_log"


async def test_a_stream_ends_long_after_its_last_message() -> None:
    """Counted from each message on; a client that ends its input ends it at once."""
    loop = asyncio.get_running_loop()

    async def sent(*pauses_s: float) -> AsyncIterator[bytes]:
        for pause_s in pauses_s:
            await asyncio.sleep(pause_s)
            yield b""

    since = loop.time()
    assert [b"", b""] == [data async for data in until_idle(sent(IDLE_S - 1, IDLE_S - 1))]
    messages = until_idle(sent(0, IDLE_S + 1))
    assert b"" == await anext(messages)
    with pytest.raises(TimeoutError):
        await anext(messages)
    assert loop.time() - since == pytest.approx(3 * IDLE_S - 2)


async def test_a_client_that_reads_no_reply_is_ended() -> None:
    """Its stream takes one of those that may be open, whatever it sends."""
    loop = asyncio.get_running_loop()

    client, since = Client(message("0", "a")), loop.time()
    client.reads.clear()
    with pytest.raises(ExceptionGroup) as told:
        await client.run(answering(FakeMiddle()))

    assert told.group_contains(TimeoutError)
    assert loop.time() - since == pytest.approx(IDLE_S)
