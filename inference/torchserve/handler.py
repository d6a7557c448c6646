"""The handler that makes TorchServe reply as the embedded server does.

In each worker process, TorchServe makes an object of the only class in this file. TorchServe then
gives batches of requests to this object. A batch goes to one ServedModel, and each request gets
its own reply.
"""

import logging
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import msgspec

from common.errors import Problem, ServiceError, problem_headers
from common.wire import MSGPACK, decode, encode
from inference.clip.model import load_model
from inference.messages import EmbedReply, EmbedRequest
from inference.served_model import ServedModel
from inference.torchserve.archive_settings import read_contents

WORKERS = 8
"""Worker processes of a model, as in snapshot_8.cfg. The workers share the CPU's cores."""

log = logging.getLogger(__name__)

Reply = tuple[int, dict[str, str], bytes]
"""Status, headers and body of a reply. A tuple, because TorchServe allows no second class here."""


class Handler:
    """The model of one worker process."""

    def __init__(self) -> None:
        self._served: ServedModel | None = None

    def initialize(self, context: Any) -> None:
        """Load the model of the archive; `context` is a ts.context.Context."""
        contents = read_contents(Path(context.system_properties["model_dir"]))
        threads = contents.settings.threads or max(1, (os.cpu_count() or 1) // WORKERS)
        settings = msgspec.structs.replace(contents.settings, threads=threads, replicas=1)
        gpu = context.system_properties.get("gpu_id")
        if gpu is not None:  # TorchServe assigns number_of_gpu GPUs to its workers in turn
            settings = msgspec.structs.replace(settings, device=f"cuda:{gpu}")
        model = load_model(contents.model, settings)
        model.warm()
        pool = ThreadPoolExecutor(settings.decode_threads or threads, thread_name_prefix="decode")
        self._served = ServedModel(contents.role, model, contents.space, settings, pool)
        self._served.start()

    def handle(self, data: list[dict[str, Any]], context: Any) -> list[bytes]:
        """Answer a batch: return the reply bodies, and set statuses and headers in `context`."""
        begun = [self._begin(item.get("body", b"")) for item in data]
        bodies = []
        for number, (status, headers, body) in enumerate(map(_reply, begun)):
            context.set_response_status(status, idx=number)
            for name, value in headers.items():
                context.set_response_header(number, name.lower(), value)
            bodies.append(body)
        return bodies

    def _begin(self, body: bytes) -> Callable[[], EmbedReply] | Exception:
        if self._served is None:
            raise RuntimeError("TorchServe did not initialize this handler")
        try:
            return self._served.begin(decode(body, EmbedRequest))
        except Exception as error:  # whatever fails, only this request fails
            return error


def _reply(begun: Callable[[], EmbedReply] | Exception) -> Reply:
    if isinstance(begun, Exception):
        return _problem(begun)
    try:
        return 200, {"Content-Type": MSGPACK}, encode(begun())
    except Exception as error:  # whatever fails, only this request fails
        return _problem(error)


def _problem(error: Exception) -> Reply:
    problem = Problem.of(error)
    if problem.status >= 500 and not isinstance(error, ServiceError):
        log.exception("unforeseen error", exc_info=error)
    return problem.status, problem_headers(problem, error), msgspec.json.encode(problem)
