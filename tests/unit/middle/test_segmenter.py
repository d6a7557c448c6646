"""Segments by a model, whose encodings are kept, or else by the colours alone."""

import asyncio

import pytest

from common.errors import (
    BadRequest,
    DeadlineExceeded,
    NotImplementedHere,
    Overloaded,
    Unavailable,
)
from middle import prediction_cache
from middle.segmenter import ENCODE_S as OWN_S
from middle.segmenter import MAX_ENCODING
from middle.upstream_state import ABSENT
from tests.unit.segmenting import BOX, ENCODE_S, Segments, absent
from tests.unit.tiers import RemoteStore


async def test_an_image_is_encoded_once_and_prompted_often() -> None:
    """The second answer takes the time of its decode alone."""
    segments = Segments()
    (first, made), (second, kept) = await segments.ask(), await segments.ask()

    assert (made, kept) == ("miss", "hit")
    assert (first.method, first.box, first.score) == ("sam", BOX, 0.9)
    assert first.took_ms == {"encode": 2000.0, "decode": 100.0, "total": 2100.0}
    assert second.took_ms == {"encode": 0.0, "decode": 100.0, "total": 100.0}
    assert segments.inference.encoded == [(b"image", OWN_S)]
    for request in segments.inference.decoded:
        assert (request.points, request.box) == ([(0.1, 0.2, 1)], BOX)
        assert (request.features, request.size) == (b"features of image", (1, 2))


async def test_equal_images_are_encoded_together() -> None:
    """Three ask at once: one encode, two joined."""
    segments = Segments()
    found = await asyncio.gather(*(segments.ask() for _ in range(3)))

    assert [outcome for _, outcome in found] == ["miss", "join", "join"]
    assert len(segments.inference.encoded) == 1


async def test_an_encoding_outlasts_who_waits_for_it_and_is_kept() -> None:
    """503 at the deadline, also for who joins; then a hit."""
    segments = Segments()
    began = asyncio.get_running_loop().time()
    first, second = await asyncio.gather(
        segments.ask(seconds=0.5), segments.ask(seconds=1.0), return_exceptions=True
    )
    assert isinstance(first, DeadlineExceeded)
    assert isinstance(second, DeadlineExceeded)
    assert asyncio.get_running_loop().time() - began == pytest.approx(1.0)
    await asyncio.sleep(ENCODE_S)

    assert (await segments.ask(seconds=0.2))[1] == "hit"
    assert len(segments.inference.encoded) == 1


async def test_who_asks_again_joins_an_encoding_that_goes_on() -> None:
    """Its first caller has given up; a second encoding would take as long again."""
    segments = Segments()
    with pytest.raises(DeadlineExceeded):
        await segments.ask(seconds=1.5)

    assert (await segments.ask(seconds=1.0))[1] == "join"
    assert len(segments.inference.encoded) == 1


async def test_a_cache_on_another_server_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beside a look-up that finds the encoding, none is made."""
    stores = {"answers": RemoteStore(), "encodings": RemoteStore(0.2)}
    monkeypatch.setattr(prediction_cache, "_create_stores", lambda *_: stores)
    segments = Segments()

    assert [(await segments.ask())[1] for _ in range(2)] == ["miss", "hit"]
    assert len(segments.inference.encoded) == 1


async def test_who_closes_the_connection_does_not_end_an_encoding() -> None:
    """It is kept, too."""
    segments = Segments()
    gone = asyncio.ensure_future(segments.ask())
    await asyncio.sleep(0.5)
    gone.cancel()
    await asyncio.sleep(ENCODE_S)

    assert (await segments.ask())[1] == "hit"


async def test_an_encoding_that_fails_is_not_kept() -> None:
    """Whoever asks gets the error, and the next one an encoding of its own."""
    segments = Segments()
    segments.inference.errors["encode"] = Unavailable("down")
    failed = await asyncio.gather(segments.ask(), segments.ask(), return_exceptions=True)
    assert [type(error) for error in failed] == [Unavailable] * 2
    segments.inference.errors.clear()

    assert (await segments.ask())[1] == "miss"


async def test_encodings_under_way_are_limited() -> None:
    """A server that hangs collects no more images; others are refused at once."""
    segments = Segments()
    segments.inference.encode_s = OWN_S
    asked = [segments.ask(f"image {number}".encode(), 1.0) for number in range(MAX_ENCODING + 3)]
    failed = await asyncio.gather(*asked, return_exceptions=True)

    assert [type(error) for error in failed] == [DeadlineExceeded] * MAX_ENCODING + [Overloaded] * 3
    assert len(segments.inference.encoded) == MAX_ENCODING
    await asyncio.sleep(OWN_S)
    assert (await segments.ask(b"image 0"))[1] == "hit"


@pytest.mark.parametrize("how", ["another model", "cache off", "not known", "bypass"])
async def test_what_may_be_of_another_model_is_not_kept(how: str) -> None:
    """Nor where nothing is kept; with no-cache it is made anew."""
    segments = Segments(
        None if how == "not known" else "digest of sam",
        cache="off" if how == "cache off" else "memory",
    )
    if how == "another model":
        segments.inference.digest = "digest of a new model"
    found = [await segments.ask(bypass=how == "bypass") for _ in range(2)]

    outcome = {"bypass": "bypass", "another model": "miss"}.get(how)
    assert [told for _, told in found] == [outcome] * 2
    assert len(segments.inference.encoded) == 2


async def test_a_model_that_changed_meanwhile_is_told_as_such() -> None:
    """503 and not 400: the query was right."""
    segments = Segments()
    segments.inference.errors["decode"] = BadRequest("of another", "other_model")
    with pytest.raises(Unavailable, match="has changed"):
        await segments.ask()
    segments.inference.errors["decode"] = BadRequest("`box` is odd")
    with pytest.raises(BadRequest, match="odd"):
        await segments.ask()


@pytest.mark.parametrize("digest", [ABSENT, None, "digest of sam"])
async def test_without_a_model_the_colours_answer(digest: str | None) -> None:
    """By GrabCut, which gets the prompt and the image; also before it is known, or just gone."""
    segments = Segments(digest)
    segments.inference.errors["encode"] = absent("sam_encode")
    answer, outcome = await segments.ask()

    assert (answer.method, answer.box, answer.score, outcome) == ("grabcut", BOX, 1.0, None)
    assert len(segments.inference.encoded) == (digest != ABSENT)
    (request,) = segments.inference.cut
    assert (request.image, request.points, request.box) == (b"image", [(0.1, 0.2, 1)], BOX)


async def test_a_server_that_has_nothing_is_told_so() -> None:
    """501: such as TorchServe without a model for it."""
    segments = Segments(ABSENT)
    segments.inference.errors["grabcut"] = absent("grabcut")
    with pytest.raises(NotImplementedHere, match="no model grabcut"):
        await segments.ask()


async def test_encodings_have_a_limit_of_their_own() -> None:
    """They push out one another, and no answer; a purge forgets both."""
    segments = Segments(segment_cache_bytes=4000)
    answers = segments.cache.tier("unit", lambda entry: entry.value)
    assert answers is not None

    async def make() -> bytes:
        return b"answer"

    deadline = asyncio.get_running_loop().time() + 60
    await answers.get("a", make, bytes, deadline, bypass=False)
    for number in range(20):
        await segments.ask(f"image {number}".encode())

    assert answers.peek("a") == b"answer"
    assert (await segments.ask(b"image 19"))[1] == "hit"
    assert (await segments.ask(b"image 0"))[1] == "miss"
    await segments.cache.purge(deadline)
    assert answers.peek("a") is None
    assert (await segments.ask(b"image 0"))[1] == "miss"
