"""The ids and the trace of the requests that a thread works for; logs and traces show them."""

import random
import re
from collections.abc import Iterable
from contextvars import ContextVar
from itertools import islice
from typing import NamedTuple

REQUEST_ID_HEADER = "X-Request-Id"
MAX_IDS = 8
"""Ids of a batch. More would make the headers longer than many queries."""
ONE_ID = "[A-Za-z0-9._-]{1,64}"
ID_PATTERN = re.compile(f"{ONE_ID}(,{ONE_ID}){{0,{MAX_IDS - 1}}}")
"""A request id; between services also the ids of a batch."""


class RequestContext(NamedTuple):
    """The ids of the public requests behind the current work, separated by commas, and a trace."""

    request_ids: str = ""
    traceparent: str = ""
    """The first request's W3C Trace Context; "" without tracing."""

    def headers(self) -> dict[str, str]:
        """The headers that pass the context to another service."""
        given = {REQUEST_ID_HEADER: self.request_ids, "traceparent": self.traceparent}
        return {name: value for name, value in given.items() if value}


NOBODY = RequestContext()
CONTEXT: ContextVar[RequestContext] = ContextVar("request_context", default=NOBODY)
"""The context of the current thread or task."""


def valid_id(given: str) -> str:
    """The caller's request id if it is valid, else a new id."""
    return given if ID_PATTERN.fullmatch(given) else f"{random.getrandbits(128):032x}"


def merge_contexts(contexts: Iterable[RequestContext]) -> RequestContext:
    """The context of a batch for several requests: at most MAX_IDS ids, and the first trace."""
    known = list(islice((context for context in contexts if context.request_ids), MAX_IDS))
    ids = ",".join(context.request_ids for context in known).split(",")[:MAX_IDS]
    traces = (context.traceparent for context in known if context.traceparent)
    return RequestContext(",".join(ids), next(traces, ""))
