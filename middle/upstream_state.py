"""The state of inference and search: models, index version and position, asked once a second."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Literal, NamedTuple

from common.cache_epoch import CacheEpoch
from common.errors import ServiceError
from inference.client import ROLES, InferenceClient, Role
from middle.fan_out import FanOut
from search.messages import Info

INTERVAL_S = 1.0
TIMEOUT_S = 1.0
ABSENT = "absent"
"""In place of a digest: the inference server does not have the model."""

StateRole = Role | Literal["sam"]

log = logging.getLogger(__name__)


class Index(NamedTuple):
    """An index version; `version_digest` differs between versions of the same name."""

    version: str
    version_digest: str


class UpstreamState:
    """The last known state of inference and search; a failed request changes nothing.

    The requests run on the event loop that calls `start`. Any thread may read the state.
    """

    def __init__(self, inference: InferenceClient, fan_out: FanOut, epoch: CacheEpoch) -> None:
        """The caller closes the first two; `epoch` has the writes of the other workers."""
        self._inference = inference
        self._fan_out = fan_out
        self._epoch = epoch
        self._digests: dict[StateRole, str] = {}
        self._infos: list[Info] = []
        self._logs: frozenset[str] = frozenset()
        """Which search servers followed, until none of them follows one of these."""
        self._asking: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Start the requests."""
        self._asking = asyncio.create_task(self._run())

    async def close(self) -> None:
        """End the requests."""
        if self._asking:
            self._asking.cancel()

    def index(self) -> Index | None:
        """The index version; None until a search server has answered."""
        if not self._infos:
            return None
        return Index(self._infos[0].version, self._infos[0].version_digest)

    def space(self) -> str | None:
        """The space of the index; None until a search server has answered."""
        return self._infos[0].space if self._infos else None

    def position(self) -> int:
        """The last position in the log that a search server or a worker of middle has told."""
        return max(self._epoch.position(), *(info.position for info in self._infos), 0)

    def delta_rows(self) -> int:
        """The images in the delta of a shard, which all shards have about as many of."""
        return max((info.delta_rows // max(1, len(info.shards)) for info in self._infos), default=0)

    def followed(self) -> dict[str, int]:
        """The logs that search servers follow, and how far; none before the first entry."""
        ends: dict[str, int] = {}
        for info in self._infos:
            if info.log_id:
                ends[info.log_id] = max(info.position, ends.get(info.log_id, 0))
        return ends

    def note(self, position: int) -> None:
        """Note a write of this worker, for all of them."""
        self._epoch.advance(position)

    def digest(self, role: StateRole) -> str | None:
        """The digest of the model in a role, or ABSENT; None while unknown."""
        return self._digests.get(role)

    async def _run(self) -> None:
        while True:
            try:
                asking = (
                    self._ask_inference(role, partial(self._inference.digest, role))
                    for role in ROLES
                )
                await asyncio.gather(
                    self._ask_search(),
                    self._fan_out.survey(TIMEOUT_S),
                    *asking,
                    self._ask_inference("sam", self._inference.sam_digest),
                )
            except Exception:  # the task must go on, or the state would grow old
                log.exception("the servers behind cannot be watched")
            await asyncio.sleep(INTERVAL_S)

    async def _ask_search(self) -> None:
        try:
            self._infos = await self._fan_out.infos(_timeout())
        except ServiceError:
            return
        followed = self.followed()
        if followed and self._logs.isdisjoint(followed):
            if self._logs:  # the positions of another log count no more
                self._epoch.restart(max(followed.values()))
            self._logs = frozenset(followed)

    async def _ask_inference(self, role: StateRole, ask: Callable[[float], Awaitable[str]]) -> None:
        try:
            digest = await ask(_timeout())
        except ServiceError as error:
            if error.code == "model_unavailable":
                self._digests[role] = ABSENT
            return
        if digest:
            self._digests[role] = digest
        else:
            self._digests.pop(role, None)


def _timeout() -> float:
    return asyncio.get_running_loop().time() + TIMEOUT_S
