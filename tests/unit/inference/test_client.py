"""The client of inference: few requests for many inputs, and each input's own fate."""

import asyncio
from pathlib import Path

import pytest

from common.errors import DeadlineExceeded, InvalidResponse, NotFound, ServiceError, Unavailable
from common.http_client import Reply
from inference.client import (
    LONG_TEXT_BATCH,
    LONG_TEXT_BYTES,
    TEXT_BATCH,
    Embedding,
    InferenceClient,
    Probabilities,
)
from tests.unit.fake_http import hang, saying
from tests.unit.inference.embedding_server import ADDRESS, Server


def soon(seconds: float = 10.0) -> float:
    return asyncio.get_running_loop().time() + seconds


async def test_texts_that_come_together_go_together(server: Server) -> None:
    """Each has its own row, and warning, of the reply."""
    inference = InferenceClient([ADDRESS])
    texts = ["a", "bb", "ccc"]
    found = await asyncio.gather(*(inference.embed_text("clip", text, soon()) for text in texts))

    assert [one.vector[0] for one in found] == [1, 2, 3]
    assert [one.warning for one in found] == ["cut", None, None]
    assert {(one.space, one.model, one.digest) for one in found} == {("space", "clip", "digest")}
    ((path, request),) = server.requests
    assert path == "/predictions/clip"
    assert request.texts == texts
    assert request.deadline_ms == pytest.approx(10_000)


async def test_each_tower_and_kind_has_batches_of_its_own(server: Server) -> None:
    """Texts of two towers, images, and images to be classified."""
    inference = InferenceClient([ADDRESS])
    await asyncio.gather(
        inference.embed_text("clip", "a", soon()),
        inference.embed_text("mclip", "a", soon()),
        inference.embed_image(b"a", soon()),
        inference.classify_image(b"a", soon()),
    )

    asked = [(path, bool(one.texts), one.classify) for path, one in server.requests]
    assert sorted(asked) == [
        ("/predictions/clip", False, False),
        ("/predictions/clip", False, True),
        ("/predictions/clip", True, False),
        ("/predictions/mclip", True, False),
    ]


async def test_a_region_goes_with_its_image(server: Server) -> None:
    """By the image's place in the batch; the others are whole."""
    inference = InferenceClient([ADDRESS])
    left, top = (0.0, 0.0, 0.5, 1.0), (0.0, 0.0, 1.0, 0.5)
    await asyncio.gather(
        inference.embed_image(b"a", soon()),
        inference.embed_image(b"b", soon(), left),
        inference.classify_image(b"c", soon(), top),
    )

    asked = {one.classify: (one.images, one.regions) for _, one in server.requests}
    assert asked == {False: ([b"a", b"b"], {1: left}), True: ([b"c"], {0: top})}


@pytest.mark.parametrize("replicas", [1, 3])
async def test_a_batch_more_than_the_server_computes_is_under_way(
    server: Server, replicas: int
) -> None:
    """The server says how many it computes. What comes meanwhile waits, and then goes together."""
    server.replicas = replicas
    inference = InferenceClient([ADDRESS])
    await inference.embed_text("clip", "a", soon())
    server.requests.clear()
    calls = []
    for _ in range(replicas + 3):
        calls.append(asyncio.ensure_future(inference.embed_text("clip", "a", soon())))
        await asyncio.sleep(0.1)
    await asyncio.gather(*calls)

    assert [len(one.texts) for _, one in server.requests] == [1] * (replicas + 1) + [2]


async def test_a_batch_of_texts_has_a_limit(server: Server) -> None:
    """More make another."""
    inference = InferenceClient([ADDRESS])
    calls = [inference.embed_text("clip", "a", soon()) for _ in range(TEXT_BATCH + 1)]
    await asyncio.gather(*calls)

    assert [len(one.texts) for _, one in server.requests] == [TEXT_BATCH, 1]


async def test_long_texts_go_apart(server: Server) -> None:
    """Kind F: a reply comes when all its texts are embedded, so a short one has no long beside."""
    inference = InferenceClient([ADDRESS])
    long = "猫" * (1 + LONG_TEXT_BYTES // len("猫".encode()))
    calls = []
    for texts in (["a"], [long] * (LONG_TEXT_BATCH + 1), ["b"]):
        calls += [
            asyncio.ensure_future(inference.embed_text("mclip", text, soon())) for text in texts
        ]
        await asyncio.sleep(0.1)
    await asyncio.gather(*calls)

    sent = [request.texts for _, request in server.requests]
    assert sent == [["a"], [long] * LONG_TEXT_BATCH, [long], ["b"]]


async def test_a_bad_input_fails_alone(server: Server) -> None:
    """With the status and code that the server gave it."""
    inference = InferenceClient([ADDRESS])
    calls = [inference.embed_image(data, soon()) for data in (b"bad", b"good")]
    bad, good = await asyncio.gather(*calls, return_exceptions=True)

    assert isinstance(bad, ServiceError)
    assert (bad.status, bad.code) == (415, "unsupported_media_type")
    assert isinstance(good, Embedding)
    assert len(server.requests) == 1


async def test_half_a_row_is_the_server_s_fault(server: Server) -> None:
    """Not that of the query, which may be as good as any."""
    server.cut = 1
    inference = InferenceClient([ADDRESS])
    with pytest.raises(InvalidResponse):
        await inference.embed_text("clip", "a", soon())


async def test_classes_are_told_where_the_model_has_a_classifier(server: Server) -> None:
    """Else the embedding is."""
    inference = InferenceClient([ADDRESS])
    assert isinstance(await inference.classify_image(b"a", soon()), Embedding)
    server.labels = ["cat", "dog"]
    found = await inference.classify_image(b"a", soon())

    assert isinstance(found, Probabilities)
    assert found.labels == ["cat", "dog"]


async def test_who_has_no_time_gives_up_alone(server: Server) -> None:
    """The batch goes on for the others."""
    inference = InferenceClient([ADDRESS])
    hasty = asyncio.ensure_future(inference.embed_text("clip", "a", soon(0.5)))
    patient = asyncio.ensure_future(inference.embed_text("clip", "b", soon()))
    with pytest.raises(DeadlineExceeded):
        await hasty

    assert (await patient).model == "clip"
    assert len(server.requests) == 1


async def test_a_model_is_described_without_embedding(server: Server) -> None:
    """One that TorchServe does not have is told in our words."""
    inference = InferenceClient([ADDRESS])
    assert await inference.digest("clip", soon()) == "digest"
    assert server.requests[0][1].describe
    server.http.answers[ADDRESS] = saying(b'{"code":404,"type":"ModelNotFoundException"}', 404)
    with pytest.raises(NotFound, match="no model mclip") as told:
        await inference.digest("mclip", soon())

    assert told.value.code == "model_unavailable"


async def test_a_server_is_alive_while_any_replica_answers_its_ping(server: Server) -> None:
    """It hangs, or it is there."""
    server.http.probes[ADDRESS] = hang
    assert await InferenceClient([ADDRESS, "server-1:80"]).is_alive(soon(2))
    server.http.probes["server-1:80"] = hang
    assert not await InferenceClient([ADDRESS, "server-1:80"]).is_alive(soon(2))


async def test_a_key_is_shown_and_read_again_when_it_is_refused(
    server: Server, tmp_path: Path
) -> None:
    """TorchServe writes it anew at each start."""
    file = tmp_path / "key_file.json"
    with pytest.raises(Unavailable, match="no key"):
        await InferenceClient([ADDRESS], file).digest("clip", soon())
    file.write_text('{"inference":{"key":"one"}}')
    inference = InferenceClient([ADDRESS], file)
    await inference.digest("clip", soon())
    file.write_text('{"inference":{"key":"two"}}')

    async def only_two() -> Reply:
        if server.http.sent[-1].request.headers["Authorization"] == "Bearer two":
            return await server.answer()
        return Reply(400, {}, b'{"code":400,"type":"InvalidKeyException"}')

    server.http.answers[ADDRESS] = only_two
    assert await inference.digest("clip", soon()) == "digest"
    shown = [one.request.headers["Authorization"] for one in server.http.sent]
    assert shown == ["Bearer one", "Bearer one", "Bearer two"]
    file.write_text('{"inference":{"key":"three"}}')
    server.http.answers[ADDRESS] = saying(b"", 401)
    with pytest.raises(Unavailable, match="refuses our key"):
        await inference.digest("clip", soon())


async def test_closing_closes_the_connections(server: Server) -> None:
    """It opened them."""
    await InferenceClient([ADDRESS]).close()

    assert server.http.is_closed
