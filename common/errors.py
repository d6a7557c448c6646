"""Everything that may go wrong, with the HTTP status and stable code it is answered with.

ServiceError
├── BadRequest 400            ├── Unauthorized 401
├── Forbidden 403             ├── NotFound 404
├── TooLarge 413              ├── UnsupportedMedia 415
├── Unprocessable 422         ├── RateLimited 429
├── ClientDisconnected 499
└── Unavailable 503
    ├── Overloaded
    └── DeadlineExceeded
ConfigError                   the start stops and prints it
└── MissingPackage            unless what needs it is optional
"""

from http.client import responses
from typing import Annotated

import msgspec
from msgspec import Meta

PROBLEM = "application/problem+json"
"""The content type of a `Problem`."""


class ConfigError(Exception):
    """What was asked for at the start cannot be; the message is shown to the operator."""


class MissingPackage(ConfigError):
    """A model needs a package that is not installed; the message says how to get it."""


class ServiceError(Exception):
    """Answered to the client as it is: `detail` says what to do, never how we are built."""

    status = 500
    code = "internal"
    retry_after_s: int | None = None

    def __init__(self, detail: str, code: str | None = None, status: int | None = None) -> None:
        super().__init__(detail)
        self.detail = detail
        self.code = code or self.code
        self.status = status or self.status


class BadRequest(ServiceError):
    """The request cannot be understood or makes no sense."""

    status, code = 400, "bad_request"


class Unauthorized(ServiceError):
    """Nobody we know: the key is missing or wrong."""

    status, code = 401, "unauthorized"


class Forbidden(ServiceError):
    """Known or not, this is not for whoever asks."""

    status, code = 403, "forbidden"


class NotFound(ServiceError):
    """There is no such thing."""

    status, code = 404, "not_found"


class TooLarge(ServiceError):
    """More than we take."""

    status, code = 413, "too_large"


class UnsupportedMedia(ServiceError):
    """A kind of content that we do not read."""

    status, code = 415, "unsupported_media_type"


class Unprocessable(ServiceError):
    """The right kind of content, but broken."""

    status, code = 422, "unprocessable"


class RateLimited(ServiceError):
    """More requests than whoever asks may make."""

    status, code = 429, "rate_limited"

    def __init__(self, detail: str, retry_after_s: int) -> None:
        super().__init__(detail)
        self.retry_after_s = retry_after_s


class ClientDisconnected(ServiceError):
    """Nobody waits for the answer; the status is the one that nginx gave a name to."""

    status, code = 499, "caller_gone"


class Unavailable(ServiceError):
    """Not now; the same request may succeed later."""

    status, code = 503, "unavailable"
    retry_after_s = 1


class InvalidResponse(Unavailable):
    """What came from, or to, a server behind this one makes no sense."""

    code = "garbled"


class Overloaded(Unavailable):
    """A queue is full."""

    code = "overloaded"


class DeadlineExceeded(Unavailable):
    """The time for the answer ran out."""

    code = "deadline_exceeded"


class Problem(msgspec.Struct, omit_defaults=True):
    """An error on the wire: RFC 9457 problem details, and between services an item's fate."""

    status: Annotated[int, Meta(description="the HTTP status")]
    code: Annotated[str, Meta(description="what went wrong: stable, for programs")]
    detail: Annotated[str, Meta(description="what went wrong and what to do: for people")] = ""
    title: Annotated[str, Meta(description="the name of the status")] = ""
    request_id: Annotated[str, Meta(description="the id of the request, as in the logs")] = ""
    type: Annotated[str, Meta(description="left out, which means about:blank")] = "about:blank"

    @classmethod
    def of(cls, error: Exception) -> "Problem":
        """What the client may know of `error`; anything unforeseen is only `internal`."""
        if isinstance(error, MemoryError):
            error = Unavailable("there is not enough memory for this just now", "out_of_memory")
        if isinstance(error, ServiceError):
            problem = cls(error.status, error.code, error.detail)
        else:
            problem = cls(500, "internal", "something went wrong on our side")
        problem.title = responses.get(problem.status, "Error")
        return problem

    def error(self) -> ServiceError:
        """The error that this problem tells of, to be raised again."""
        kind = Unavailable if self.status == 503 else ServiceError
        return kind(self.detail, self.code, self.status)


def problem_headers(problem: Problem, error: Exception) -> dict[str, str]:
    """The headers that go with a problem in every reply, whatever server sends it."""
    headers = {"Content-Type": PROBLEM}
    if problem.status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    if problem.status in (429, 503):
        headers["Retry-After"] = str(getattr(error, "retry_after_s", None) or 1)
    return headers
