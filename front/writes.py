"""The routes of writes: images are put, changed and deleted, one or many in a request."""

import asyncio
import logging
import math
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any, TypeVar

import msgspec
from flask import Flask, Response, request

from common.config import Middle
from common.errors import Problem, ServiceError, Unavailable
from common.loop import LoopThread
from common.server.request import deadline_of, long_deadline_of
from common.uploads import Placed
from front.answer_cache import AnswerCache
from front.new_images import NewImages
from front.write_requests import (
    NewImage,
    WriteResult,
    WriteResults,
    read_delete,
    read_patch,
    read_put,
)
from middle.client import MiddleClient
from middle.write_messages import Metadata, Written, put_query

PUTS_AT_ONCE = 8
"""Images of a request that are read and embedded at a time: as many as a batch has."""
DELETES_AT_ONCE = 64
"""Each waits for the search servers to see those before it, which takes them a moment."""

Item = TypeVar("Item")
Write = Callable[[Item, float], Awaitable[Written]]

log = logging.getLogger(__name__)


def add_writes(
    app: Flask,
    client: MiddleClient,
    loop: LoopThread,
    images: NewImages,
    answers: AnswerCache,
    middle: Middle,
) -> None:
    """Add the routes of writes. After a write, front gives no answer of before it."""
    put_one = partial(put_image, client, images)
    delete_one = partial(delete_image, client, images)
    embed_s, query_s = middle.embed_deadline_ms / 1000, middle.deadline_ms / 1000

    def run(write: Awaitable[Any], status: int = 200) -> Response:
        try:
            written = loop.run(_await(write))
        finally:  # also if nobody knows what became of it
            answers.purge()
        return Response(msgspec.json.encode(written), status, content_type="application/json")

    @app.post("/v1/images")
    def put() -> Response:
        asked = read_put(request)
        if asked.images is None:
            deadline = long_deadline_of(request, embed_s)
            placed = images.place(asked)  # here, as this thread has nothing else to do
            return run(put_placed(client, images, placed, asked.metadata, deadline), 201)
        end = long_deadline_of(request, math.inf)
        return run(each(asked.images, put_one, PUTS_AT_ONCE, embed_s, end))

    @app.patch("/v1/images/<id:image_id>")
    def patch(image_id: str) -> Response:
        change, deadline = read_patch(request), deadline_of(request, query_s)
        return run(client.patch(image_id, change, deadline))

    @app.delete("/v1/images/<id:image_id>")
    def delete(image_id: str) -> Response:
        return run(delete_one(image_id, deadline_of(request, query_s)))

    @app.post("/v1/images/delete")
    def delete_many() -> Response:
        ids, end = read_delete(request).ids, long_deadline_of(request, math.inf)
        return run(each(ids, delete_one, DELETES_AT_ONCE, query_s, end))


async def put_image(
    client: MiddleClient, images: NewImages, image: NewImage, deadline: float
) -> Written:
    """Put one image, and keep its file if it is uploaded; raises a ServiceError."""
    placed = await asyncio.to_thread(images.place, image)
    return await put_placed(client, images, placed, image.metadata, deadline)


async def put_placed(
    client: MiddleClient, images: NewImages, placed: Placed, metadata: Metadata, deadline: float
) -> Written:
    """Put an image whose file has its place; raises a ServiceError."""
    async with images.uploads.putting(placed):
        written = await client.put(put_query(placed, metadata), deadline)
    return Written(written.id, written.position)


async def delete_image(
    client: MiddleClient, images: NewImages, image_id: str, deadline: float
) -> Written:
    """Delete one image, with its file if that was uploaded; raises a ServiceError."""
    async with images.uploads.deleting(image_id):
        return await client.delete(image_id, deadline)


async def each(
    items: Sequence[Item], write: Write[Item], at_once: int, most_s: float, end: float
) -> WriteResults:
    """The result of each write, some at a time, each with `most_s` seconds and before `end`.

    After one that is unavailable, those that have not begun end likewise: they would wait as long.
    """
    slots = asyncio.Semaphore(at_once)
    failure: ServiceError | None = None

    async def result_of(item: Item) -> WriteResult:
        nonlocal failure
        async with slots:
            if failure:
                return WriteResult(problem=Problem.of(failure))
            try:
                now = asyncio.get_running_loop().time()
                written = await write(item, min(end, now + most_s))
            except Exception as error:  # whatever fails, only this item fails
                if isinstance(error, Unavailable):
                    failure = error
                elif not isinstance(error, ServiceError):
                    log.exception("a write failed")
                return WriteResult(problem=Problem.of(error))
        return WriteResult(written.id, written.position)

    return WriteResults(await asyncio.gather(*map(result_of, items)))


async def _await(write: Awaitable[Any]) -> Any:
    return await write
