"""Images that are put into the index: embedded apart from queries, with their perceptual hashes."""

import asyncio

from inference.client import InferenceClient
from tests.unit.inference.embedding_server import ADDRESS, Server


async def test_they_have_batches_of_their_own(server: Server) -> None:
    """So that no query waits for those of a bulk, and only they are hashed."""
    inference = InferenceClient([ADDRESS])
    deadline = asyncio.get_running_loop().time() + 10
    query, new, other = await asyncio.gather(
        inference.embed_image(b"a", deadline),
        inference.embed_new_image(b"bb", deadline),
        inference.embed_new_image(b"ccc", deadline),
    )

    assert [query.vector[0], new.embedding.vector[0], other.embedding.vector[0]] == [1, 2, 3]
    assert [new.perceptual, other.perceptual] == [f"{0:016x}", f"{1:016x}"]
    asked = {one.perceptual: one.images for _, one in server.requests}
    assert asked == {False: [b"a"], True: [b"bb", b"ccc"]}
