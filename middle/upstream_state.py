"""The state of inference and search: models and index version, asked for once a second."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Literal, NamedTuple

from common.errors import ServiceError
from inference.client import ROLES, InferenceClient, Role
from middle.fan_out import FanOut

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

    def __init__(self, inference: InferenceClient, fan_out: FanOut) -> None:
        """The caller closes both."""
        self._inference = inference
        self._fan_out = fan_out
        self._digests: dict[StateRole, str] = {}
        self._index: Index | None = None
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
        return self._index

    def digest(self, role: StateRole) -> str | None:
        """The digest of the model in a role, or ABSENT; None while unknown."""
        return self._digests.get(role)

    async def _run(self) -> None:
        while True:
            try:
                await self._ask_search()
                for role in ROLES:
                    await self._ask_inference(role, partial(self._inference.digest, role))
                await self._ask_inference("sam", self._inference.sam_digest)
            except Exception:  # the task must go on, or the state would grow old
                log.exception("the servers behind cannot be watched")
            await asyncio.sleep(INTERVAL_S)

    async def _ask_search(self) -> None:
        try:
            info = await self._fan_out.info(_timeout())
        except ServiceError:
            return
        self._index = Index(info.version, info.version_digest)

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
