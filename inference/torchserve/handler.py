"""The handler that makes TorchServe reply as the embedded server does.

In each worker process, TorchServe makes an object of the only class in this file. TorchServe then
gives batches of requests to this object. A batch goes to one model, and each request gets its own
reply.
"""

import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
from msgspec.structs import replace

from common.config import Inference
from common.cores import usable_cores
from common.errors import Problem, ServiceError, problem_headers
from common.wire import MSGPACK, decode, encode
from inference.clip.model import load_model
from inference.messages import EmbedRequest, SamDecodeRequest, SamEncodeRequest
from inference.segment.sam import load_sam
from inference.segment.served_sam import ServedSam
from inference.served_model import ServedModel
from inference.torchserve import sam_json
from inference.torchserve.archive_settings import Contents, read_contents

WORKERS = 8
"""Worker processes of a model, as in snapshot_8.cfg. The workers share the CPU's cores."""

log = logging.getLogger(__name__)

Begin = Callable[[bytes], Callable[[], object]]
"""Takes the body of a request, and returns a function that waits for its reply."""
Reply = tuple[int, dict[str, str], bytes]
"""Status, headers and body of a reply. A tuple, because TorchServe allows no second class here."""


class Handler:
    """The model of one worker process."""

    def __init__(self) -> None:
        self._begin_reply: Begin | None = None

    def initialize(self, context: Any) -> None:
        """Load the model of the archive; `context` is a ts.context.Context."""
        contents = read_contents(Path(context.system_properties["model_dir"]))
        contents = replace(contents, settings=_with_device(contents.settings, context))
        self._begin_reply = (
            _sam(contents) if contents.role.startswith("sam") else _embedder(contents)
        )

    def handle(self, data: list[dict[str, Any]], context: Any) -> list[bytes]:
        """Answer a batch: return the reply bodies, and set statuses and headers in `context`.

        An item has its `body`, or a form's field `data`.
        """
        begun = [self._begin(item.get("body") or item.get("data", b"")) for item in data]
        bodies = []
        for number, (status, headers, body) in enumerate(map(_reply, begun)):
            context.set_response_status(status, idx=number)
            for name, value in headers.items():
                context.set_response_header(number, name.lower(), value)
            bodies.append(body)
        return bodies

    def _begin(self, body: bytes) -> Callable[[], object] | Exception:
        if self._begin_reply is None:
            raise RuntimeError("TorchServe did not initialize this handler")
        try:
            return self._begin_reply(body)
        except Exception as error:  # whatever fails, only this request fails
            return error


def _with_device(settings: Inference, context: Any) -> Inference:
    """The settings with the GPU of this worker: TorchServe deals out number_of_gpu of them."""
    gpu = context.system_properties.get("gpu_id")
    if gpu is not None:
        return replace(settings, device=f"cuda:{gpu}")
    return replace(settings, device="cpu") if settings.device == "auto" else settings


def _embedder(contents: Contents) -> Begin:
    """Load and start a model of CLIP."""
    threads = contents.settings.threads or max(1, usable_cores() // WORKERS)
    settings = replace(contents.settings, threads=threads, replicas=1)
    model = load_model(contents.model, settings, image=contents.role == "clip")
    model.warm()
    pool = ThreadPoolExecutor(settings.decode_threads or threads, thread_name_prefix="decode")
    served = ServedModel(contents.role, model, contents.space, settings, pool)
    served.start()
    return lambda body: served.begin(decode(body, EmbedRequest))


def _sam(contents: Contents) -> Begin:
    """Load and start a model of Segment Anything for its one role, on our wire and in JSON."""
    is_encode = contents.role == "sam_encode"
    sam = load_sam(contents.model, contents.settings, Path(), encode=is_encode)
    served = ServedSam(sam, contents.settings)
    served.start()

    def begin(body: bytes) -> Callable[[], object]:
        if sam_json.takes(body):
            given = bytes(body)  # TorchServe gives a bytearray
            if is_encode:
                return partial(sam_json.encode_image, served, given)
            return partial(sam_json.decode_prompt, sam.decoder, given)
        if is_encode:
            return partial(served.encode, decode(body, SamEncodeRequest))
        return partial(served.decode, decode(body, SamDecodeRequest))

    return begin


def _reply(begun: Callable[[], object] | Exception) -> Reply:
    if isinstance(begun, Exception):
        return _problem(begun)
    try:
        answer = begun()
        if isinstance(answer, sam_json.EncodedJson | sam_json.DecodedJson):
            return 200, {"Content-Type": "application/json"}, msgspec.json.encode(answer)
        return 200, {"Content-Type": MSGPACK}, encode(answer)
    except Exception as error:  # whatever fails, only this request fails
        return _problem(error)


def _problem(error: Exception) -> Reply:
    problem = Problem.of(error)
    if problem.status >= 500 and not isinstance(error, ServiceError):
        log.exception("unforeseen error", exc_info=error)
    return problem.status, problem_headers(problem, error), msgspec.json.encode(problem)
