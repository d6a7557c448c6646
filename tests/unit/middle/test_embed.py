"""Which text tower embeds what, what is kept of it, and what is done without one."""

import asyncio
from collections.abc import Sequence
from typing import Any, cast

import numpy as np
import pytest

from common.cache_epoch import CacheEpoch
from common.config import Middle
from common.errors import BadRequest, ServiceError, Unavailable
from inference.client import Embedding, InferenceClient, Probabilities
from inference.messages import Logits
from middle.cache_keys import image_file
from middle.embed import Embedded, Embedder, choose_role, keep_embedding, read_embedding
from middle.memory_store import CacheEntry
from middle.messages import ModelChoice
from middle.prediction_cache import PredictionCache
from middle.upstream_state import UpstreamState
from tests.unit.answering import FakeState
from tests.unit.embedding import BROKEN_IMAGE, FakeInference
from tests.unit.shards import SPACE, VECTOR

CAT = "кошка"


class Embeds:
    """An embedder with an inference server that notes what it is asked."""

    def __init__(self, cache: str = "memory", **digests: str) -> None:
        self.inference = FakeInference(**digests)
        self.state = FakeState()
        self.state.digests = dict(self.inference.digests)
        self.embedder = Embedder(
            cast(InferenceClient, self.inference),
            PredictionCache(Middle(cache=cache), CacheEpoch()),
            cast(UpstreamState, self.state),
        )

    async def texts(
        self, *texts: str, choice: ModelChoice = "auto", **options: Any
    ) -> list[Embedded | ServiceError]:
        deadline = asyncio.get_running_loop().time() + 10
        return await self.embedder.texts(texts, choice, deadline, **options)


def errors(results: Sequence[object]) -> list[tuple[int, str] | None]:
    return [(one.status, one.code) if isinstance(one, ServiceError) else None for one in results]


@pytest.mark.parametrize(
    ("text", "choice", "role"),
    [
        ("a cat", "auto", "clip"),
        (CAT, "auto", "mclip"),
        (CAT, "clip", "clip"),
        ("a", "mclip", "mclip"),
    ],
)
def test_the_tower_is_chosen_by_the_language(text: str, choice: ModelChoice, role: str) -> None:
    """Unless the client chooses it."""
    assert choose_role(text, choice) == role


async def test_a_text_is_judged_as_it_is_embedded() -> None:
    """Kind F: full-width letters are English, and embedded as such."""
    own = Embeds()
    await own.texts("\uff23\uff21\uff34", "a nai\u0308ve painting")

    assert sorted(own.inference.texts) == [("clip", "CAT"), ("clip", "a naïve painting")]


async def test_each_text_goes_to_its_tower_once() -> None:
    """Normal texts are compared, and what was embedded is kept."""
    own = Embeds()
    await own.texts("a  cat", "a cat", CAT)
    results = await own.texts(CAT, "a cat")

    assert sorted(own.inference.texts) == [("clip", "a cat"), ("mclip", CAT)]
    assert [one.model for one in results if isinstance(one, Embedded)] == ["mclip", "clip"]


async def test_a_bypass_embeds_anew() -> None:
    """Though it is kept."""
    own = Embeds()
    await own.texts("a cat")
    await own.texts("a cat", bypass=True)

    assert len(own.inference.texts) == 2


@pytest.mark.parametrize("why", ["no digest", "another digest", "no cache"])
async def test_what_may_be_of_another_model_is_not_kept(why: str) -> None:
    """As while inference changes its model."""
    own = Embeds(cache="off" if why == "no cache" else "memory")
    if why == "no digest":
        own.state.digests.clear()
    if why == "another digest":
        own.state.digests["clip"] = "of before"
    for _ in range(2):
        await own.texts("a cat")

    assert len(own.inference.texts) == 2


async def test_clip_stands_in_for_a_missing_tower() -> None:
    """With a warning; the other texts are none the worse."""
    own = Embeds(clip="digest of clip")
    cat, other, emoji = await own.texts(CAT, "a cat", "🐱")

    assert isinstance(cat, Embedded)
    assert isinstance(other, Embedded)
    assert cat.model == "clip"
    assert "answered by clip" in cat.warnings[0]
    assert other.warnings == ()
    assert isinstance(emoji, Embedded)
    assert emoji.warnings == ()  # it has no language that clip may not know


async def test_a_missing_tower_that_was_chosen_is_the_client_s_error() -> None:
    """Without clip nothing works, which is no client's fault."""
    own = Embeds(clip="digest of clip")
    assert errors(await own.texts(CAT, choice="mclip")) == [(400, "model_unavailable")]

    none = Embeds(other="digest of another")
    assert errors(await none.texts("a cat", choice="clip")) == [(503, "unavailable")]
    assert errors(await none.texts("a cat")) == [(503, "unavailable")]


async def test_a_failure_is_its_own_input_s() -> None:
    """Of several images the broken one fails alone."""
    own = Embeds()
    deadline = asyncio.get_running_loop().time() + 10
    files = [image_file(b"good"), image_file(BROKEN_IMAGE)]

    found = await own.embedder.images(files, deadline)
    assert errors(found) == [None, (415, "unsupported_media_type")]
    own.inference.error = Unavailable("down")
    assert errors(await own.texts("a dog", "a cow")) == [(503, "unavailable")] * 2


async def test_a_region_is_embedded_and_kept_by_itself() -> None:
    """Of one file, the whole and a part are asked for, and each is found again."""
    own = Embeds()
    deadline = asyncio.get_running_loop().time() + 10
    left = (0.0, 0.0, 0.5, 1.0)
    files = [image_file(b"good"), image_file(b"good", left)]

    for _ in range(2):
        await own.embedder.images(files, deadline)

    assert own.inference.regions == [None, left]
    own.inference.has_classifier = False
    await own.embedder.classify(files, deadline)
    assert own.inference.regions == [None, left] * 2


async def test_an_unforeseen_error_is_not_hidden() -> None:
    """It is a bug, and no result of an input."""
    own = Embeds()
    own.inference.error = ValueError("odd")  # type: ignore[assignment]
    with pytest.raises(ValueError, match="odd"):
        await own.texts("a cat")


async def test_images_are_classified_where_there_is_a_classifier() -> None:
    """Else they are embedded; a broken one is an error either way."""
    own = Embeds()
    deadline = asyncio.get_running_loop().time() + 10
    files = [image_file(b"good"), image_file(BROKEN_IMAGE)]
    for has_classifier, kind in ((True, Probabilities), (False, Embedded)):
        own.inference.has_classifier = has_classifier
        good, broken = await own.embedder.classify(files, deadline)
        assert isinstance(good, kind)
        assert errors([broken]) == [(415, "unsupported_media_type")]


def test_what_is_kept_of_an_embedding_is_all_of_it() -> None:
    """Nothing of one of another model."""
    given = Embedding(VECTOR, SPACE, "clip", "cut", Logits(50.0, -1.0), "digest")
    value = keep_embedding("digest", given)
    assert value is not None
    found = read_embedding(CacheEntry(value, 1.0))

    np.testing.assert_array_equal(found.vector, VECTOR)
    assert found[1:] == given[1:]
    assert keep_embedding("other", given) is None


@pytest.mark.parametrize("size", [0, 3, 5])
def test_a_kept_vector_that_is_none_is_refused(size: int) -> None:
    """Its bytes are no numbers."""
    given = Embedding(VECTOR, SPACE, "clip", None, Logits(), "digest")
    value = keep_embedding("digest", given) or b""
    vector = VECTOR.tobytes()
    broken = value.replace(b"\xc4\x08" + vector, b"\xc4" + bytes([size]) + b"x" * size)
    assert broken != value
    with pytest.raises(BadRequest):
        read_embedding(CacheEntry(broken, 1.0))
