"""What stands behind middle: the index's version and the models, asked about once a second."""

import logging
import threading
import time
from typing import NamedTuple

from common.errors import ServiceError
from inference.client import InferenceClient, Role
from middle.fan_out import FanOut

INTERVAL_S = 1.0
PATIENCE_S = 1.0
ABSENT = "absent"
"""Instead of a digest: the inference server says that it has no such model."""

log = logging.getLogger(__name__)


class Index(NamedTuple):
    """An index version; `seal` tells it from others of its name."""

    version: str
    seal: str


class Watch:
    """The last that each server said; that one does not answer now changes nothing."""

    def __init__(self, inference: InferenceClient, fan_out: FanOut) -> None:
        """Both are started and closed by who made them."""
        self._inference = inference
        self._fan_out = fan_out
        self._digests: dict[Role, str] = {}
        self._index: Index | None = None
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="watch", daemon=True)

    def start(self) -> None:
        """Start to ask; call it after the process has forked."""
        self._thread.start()

    def close(self) -> None:
        """Ask no more."""
        self._closing.set()
        if self._thread.ident is not None:
            self._thread.join()

    def index(self) -> Index | None:
        """The index version; None when no search server ever answered."""
        return self._index

    def digest(self, role: Role) -> str | None:
        """The digest of the model in a role, or ABSENT; None when it is not known."""
        return self._digests.get(role)

    def _run(self) -> None:
        while not self._closing.is_set():
            try:
                self._ask_search()
                for role in ("clip", "mclip"):
                    if not self._closing.is_set():
                        self._ask_inference(role)
            except Exception:  # the edge of a thread: without it nothing new would be noticed
                log.exception("the servers behind cannot be watched")
            self._closing.wait(INTERVAL_S)

    def _ask_search(self) -> None:
        try:
            info = self._fan_out.info(time.monotonic() + PATIENCE_S)
        except ServiceError:
            return
        self._index = Index(info.version, info.seal)

    def _ask_inference(self, role: Role) -> None:
        try:
            digest = self._inference.digest(role, time.monotonic() + PATIENCE_S)
        except ServiceError as error:
            if error.code == "model_unavailable":
                self._digests[role] = ABSENT
            return
        if digest:
            self._digests[role] = digest
        else:
            self._digests.pop(role, None)
