"""What a query may be asked by: a text, a vector, an image of the index, an image file."""

import asyncio
from typing import cast

import numpy as np
import pytest

from common.errors import BadRequest, NotFound, ServiceError, Unavailable
from middle.cache_keys import image_file
from middle.embed import Embedder, answer_inputs
from middle.messages import EmbedQuery
from tests.unit.answering import Answering, paths
from tests.unit.embedding import BROKEN_IMAGE
from tests.unit.shards import VECTOR, hits

OWN_ID = f"{2:016x}{0:016x}"


async def test_a_vector_is_searched_for_at_unit_length() -> None:
    """Nobody embeds it; one of another length is the client's own fault."""
    asked = Answering(text=None, embedding=[3.0, 4.0])
    found = await asked.ask()
    vector = asked.servers[0].batches[0].queries[0].vector
    np.testing.assert_allclose(vector, [0.6, 0.8], rtol=1e-6)
    assert vector.dtype == np.float32
    assert found.answer.model is None
    assert asked.embedder.batches == []

    for server in asked.servers:
        server.error = BadRequest("2 numbers, not 512", "wrong_length")
    with pytest.raises(BadRequest, match="not 512"):
        await asked.ask(bypass=True)


async def test_an_image_of_the_index_finds_others_like_it() -> None:
    """Itself is left out, so one more is asked for."""
    asked = Answering(text=None, id=OWN_ID, k=1)
    asked.servers[0].found = {0: hits((1.0, 2), (0.7, 4))}
    found = await asked.ask()

    assert paths(found) == ["4"]
    assert asked.asked() == [[2]]
    for server in asked.servers:
        server.error = NotFound("no such image")
    with pytest.raises(NotFound):
        await asked.ask(bypass=True)


async def test_an_image_file_is_known_by_its_bytes() -> None:
    """The same file is answered from the cache, another is not."""
    asked = Answering(text=None, image=b"")
    files = [image_file(data) for data in (b"one", b"one", b"two")]
    outcomes = [(await asked.ask(image=file)).outcome for file in files]
    assert outcomes == ["miss", "hit", "miss"]
    with pytest.raises(ServiceError, match="no image"):
        await asked.ask(image=image_file(BROKEN_IMAGE))


async def test_a_text_that_cannot_be_embedded_is_an_error() -> None:
    """And is not kept."""
    asked = Answering()
    asked.embedder.errors["auto red"] = Unavailable("down")
    for _ in range(2):
        with pytest.raises(Unavailable, match="down"):
            await asked.ask()

    assert len(asked.embedder.batches) == 2


async def test_a_model_that_is_absent_is_part_of_the_key() -> None:
    """When it is there, the query that clip answered in its place is asked anew."""
    asked = Answering(text="кошка")
    with_model = asked.key()
    asked.state.digests["mclip"] = "absent"
    without = asked.key()

    assert with_model is not None
    assert without is not None
    assert with_model.key != without.key
    assert (with_model.digest, without.digest) == ("digest of mclip", "digest of clip")


async def test_inputs_are_embedded_in_order() -> None:
    """The first that fails names its place."""
    asked = Answering()
    deadline = asyncio.get_running_loop().time() + 5
    asked.embedder.embedded = asked.embedder.embedded._replace(warnings=("cut",))
    embedder = cast(Embedder, asked.embedder)
    answer = await answer_inputs(embedder, EmbedQuery(texts=["a", "b"]), [], deadline)
    assert answer.embeddings == [VECTOR.tolist()] * 2
    assert answer.warnings == ["input 0: cut", "input 1: cut"]
    assert answer.model == "clip"

    files = [image_file(b"good"), image_file(BROKEN_IMAGE)]
    with pytest.raises(ServiceError, match="input 1: this is no image") as told:
        await answer_inputs(embedder, EmbedQuery(images=[b"", b""]), files, deadline)
    assert (told.value.status, told.value.code) == (415, "unsupported_media_type")
