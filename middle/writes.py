"""Writes: images are put, changed and deleted by entries in the log."""

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import TypeVar

from common.coalescing import Coalescer
from common.errors import BadRequest, NotFound, NotImplementedHere, Unavailable
from common.loop import within
from common.wire import encode, pack_rows
from inference.client import InferenceClient
from middle.fan_out import FanOut
from middle.upstream_state import UpstreamState
from middle.write_checks import check_metadata
from middle.write_messages import Metadata, PutAnswer, PutQuery, Written
from search.image_key import image_id, key_of, parse_id
from search.log import Entry, Log, log_unavailable
from search.messages import LookupReply, Record

MAX_BATCH = 1024
"""Entries in a transaction."""
MAX_QUEUE = 4096
THREADS = 2
"""One appends, one asks where the log ends. A log that hangs holds no other thread."""
PAUSE_S = 0.02
"""Between two questions to a search server that is behind: it looks at a log in SQLite so often."""
FAILED = "the log of puts and deletes cannot be used now: try again, the same write does no harm"

Result = TypeVar("Result")

log = logging.getLogger(__name__)


class Writes:
    """Writes to the log. Belongs to one event loop, whose clock deadlines are on."""

    def __init__(
        self,
        log: Log | None,
        inference: InferenceClient,
        fan_out: FanOut,
        state: UpstreamState,
        max_delta: int,
    ) -> None:
        """Closes the log, and nothing else. Without a log, nothing can be written."""
        self._log = log
        self._inference = inference
        self._fan_out = fan_out
        self._state = state
        self._max_delta = max_delta
        self._threads = ThreadPoolExecutor(THREADS, "log")
        self._appends: Coalescer[Entry, int] = Coalescer(
            "log", self._append, slots=1, max_batch=MAX_BATCH, max_queue=MAX_QUEUE
        )
        self._ends: Coalescer[None, int] = Coalescer(
            "log-end", self._ask_end, slots=1, max_batch=MAX_BATCH, max_queue=MAX_QUEUE
        )

    async def close(self) -> None:
        """Close the log."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        if self._log:
            self._log.close()  # not in a thread: none starts while the process ends

    async def put(self, query: PutQuery, content: str, deadline: float) -> PutAnswer:
        """Embed a checked image and write it; `content` is the content hash of its file.

        To put an image again replaces its metadata and nothing else. Raises a ServiceError.
        """
        self._opened()
        space = await self._space(deadline)
        if self._state.delta_rows() >= self._max_delta:
            raise Unavailable(
                "as many images were put as a shard takes (Live.max-delta): run prepare",
                "live_full",
            )
        embedding, perceptual = await self._inference.embed_new_image(query.image, deadline)
        if embedding.space != space:
            raise Unavailable(
                "the index was made with another model than the inference server has now",
                "model_mismatch",
            )
        record = Record(query.path, query.metadata, query.told_from, facts=query.facts)
        key, vector = key_of(content, query.path, perceptual), pack_rows(embedding.vector)
        written = await self._write(Entry("put", key, space, vector, encode(record)), deadline)
        return PutAnswer(written.id, written.position, embedding.vector.tolist())

    async def patch(self, identity: str, changes: Metadata, deadline: float) -> Written:
        """Change metadata of an image; raises a ServiceError, NotFound if there is no such image.

        A null removes a field.
        """
        before = (await self._at_end(identity, deadline)).record.metadata
        kept = {name: value for name, value in before.items() if name not in changes}
        check_metadata(kept | {name: value for name, value in changes.items() if value is not None})
        return await self._write(
            Entry("patch", bytes.fromhex(identity), record=encode(changes)), deadline
        )

    async def delete(self, identity: str, deadline: float) -> Written:
        """Delete an image; raises a ServiceError, NotFound if there is no such image."""
        await self._at_end(identity, deadline)
        return await self._write(Entry("delete", bytes.fromhex(identity)), deadline)

    async def find(self, identity: str, min_position: int, deadline: float) -> LookupReply:
        """The image of an id, as it is at `min_position` or later; raises a ServiceError.

        That there is none is told only where the log ends: a server may not have come so far. What
        is beyond the end was written to a log that is no more.
        """
        if self._log and min_position > self._state.position():
            with suppress(Unavailable):
                min_position = min(min_position, await self._end(deadline))
        try:
            return await self._lookup(identity, min_position, deadline)
        except NotFound:
            try:
                end = await self._end(deadline) if self._log else 0
            except Unavailable:
                end = 0
            if end <= min_position:
                raise
        return await self._lookup(identity, end, deadline)

    async def check_position(self, min_position: int, deadline: float) -> None:
        """Raise BadRequest for a position that the log has not reached: nobody was told it."""
        if min_position <= self._state.position():
            return
        try:
            end = await self._end(deadline) if self._log else 0
        except Unavailable:
            return  # searches go on without the log
        if min_position > end:
            raise BadRequest(f"`min_position` is {min_position}, and the log ends at {end}")

    async def _at_end(self, identity: str, deadline: float) -> LookupReply:
        """The image of an id at the end of the log, as a server that lags must not decide it."""
        self._opened()
        parse_id(identity)
        return await self._lookup(identity, await self._end(deadline), deadline)

    async def _lookup(self, identity: str, position: int, deadline: float) -> LookupReply:
        """The image of an id at a position. A server lets only a few wait there: ask again."""
        while True:
            try:
                return await self._fan_out.lookup(identity, deadline, position)
            except Unavailable as error:
                left_s = deadline - asyncio.get_running_loop().time()
                if error.code != "behind" or left_s < 2 * PAUSE_S:
                    raise
            await asyncio.sleep(PAUSE_S)

    async def _space(self, deadline: float) -> str:
        return self._state.space() or (await self._fan_out.info(deadline)).space

    async def _write(self, entry: Entry, deadline: float) -> Written:
        position = await within(deadline, self._appends.submit(entry, deadline))
        return Written(image_id(entry.key), position)

    async def _end(self, deadline: float) -> int:
        """Where the log ends: what was acknowledged before this call is before it."""
        return await within(deadline, self._ends.submit(None, deadline))

    async def _append(self, entries: list[Entry], _deadline: float) -> Sequence[int]:
        followed = self._state.followed()
        last = await self._in_thread(lambda log: _append(log, entries, followed))
        self._state.note(last)
        return range(last - len(entries) + 1, last + 1)

    async def _ask_end(self, asking: list[None], _deadline: float) -> Sequence[int]:
        return [await self._in_thread(lambda log: log.end())] * len(asking)

    async def _in_thread(self, call: Callable[[Log], Result]) -> Result:
        opened = self._opened()
        try:
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(self._threads, call, opened)
        except Unavailable as error:
            log.error("%s", error.detail)
            raise Unavailable(FAILED, error.code) from None

    def _opened(self) -> Log:
        if self._log is None:
            raise NotImplementedHere(
                "nothing can be put or deleted here: whoever runs this server can set Live.log",
                "no_log",
            )
        return self._log


def _append(log: Log, entries: Sequence[Entry], followed: Mapping[str, int]) -> int:
    """Append to a log that search servers follow, if they follow any; raises Unavailable.

    No server would apply the entries of another log, which an append makes if the file is gone. Nor
    would it apply those of a log that was put back from a copy, and ends before its own position.
    """
    found = log.id()
    if followed and found not in followed:
        told = f"it is {found}" if found else "it is not there"
        ids = ", ".join(sorted(followed))
        raise log_unavailable(f"{told}, and search servers follow {ids}")
    if (end := log.end()) < (reached := followed.get(found, 0)):
        raise log_unavailable(f"it ends at {end}, and search servers are at {reached}")
    return log.append(entries)
