"""For whom a thread works just now: it goes along from service to service, for logs and traces."""

from collections.abc import Iterable
from contextvars import ContextVar
from itertools import islice
from typing import NamedTuple

REQUEST_ID_HEADER = "X-Request-Id"
MAX_IDS = 8
"""Of a batch; more would make the head of a message longer than many a query."""


class RequestContext(NamedTuple):
    """The requests at the edge that work is done for, separated by commas, and their trace."""

    request_ids: str = ""
    traceparent: str = ""
    """Of the first of them, as W3C Trace Context has it; "" where nothing is traced."""

    def headers(self) -> dict[str, str]:
        """What tells another service."""
        given = {REQUEST_ID_HEADER: self.request_ids, "traceparent": self.traceparent}
        return {name: value for name, value in given.items() if value}


NOBODY = RequestContext()
CONTEXT: ContextVar[RequestContext] = ContextVar("origin", default=NOBODY)
"""Of this thread."""


def merge_contexts(origins: Iterable[RequestContext]) -> RequestContext:
    """The origin of what is done for several at once."""
    known = list(islice((one for one in origins if one.request_ids), MAX_IDS))
    ids = ",".join(one.request_ids for one in known).split(",")[:MAX_IDS]
    traced = next((one.traceparent for one in known if one.traceparent), "")
    return RequestContext(",".join(ids), traced)
