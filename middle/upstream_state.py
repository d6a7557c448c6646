"""The state of inference and search: models and index version, asked for once a second."""

import asyncio
import logging
from typing import NamedTuple

from common.errors import ServiceError
from inference.client import InferenceClient, Role
from middle.fan_out import FanOut

INTERVAL_S = 1.0
TIMEOUT_S = 1.0
ABSENT = "absent"
"""In place of a digest: the inference server does not have the model."""

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
        self._digests: dict[Role, str] = {}
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

    def digest(self, role: Role) -> str | None:
        """The digest of the model in a role, or ABSENT; None while unknown."""
        return self._digests.get(role)

    async def _run(self) -> None:
        while True:
            try:
                await self._ask_search()
                for role in ("clip", "mclip"):
                    await self._ask_inference(role)
            except Exception:  # the task must go on, or the state would grow old
                log.exception("the servers behind cannot be watched")
            await asyncio.sleep(INTERVAL_S)

    async def _ask_search(self) -> None:
        try:
            info = await self._fan_out.info(_timeout())
        except ServiceError:
            return
        self._index = Index(info.version, info.version_digest)

    async def _ask_inference(self, role: Role) -> None:
        try:
            digest = await self._inference.digest(role, _timeout())
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
