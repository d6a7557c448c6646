"""The errors of our services, each with its HTTP status and its stable code.

ServiceError
├── BadRequest 400            ├── Unauthorized 401
├── Forbidden 403             ├── NotFound 404
├── Gone 410                  ├── TooLarge 413
├── UnsupportedMedia 415      ├── Misdirected 421
├── Unprocessable 422         ├── RateLimited 429
├── ClientDisconnected 499    ├── NotImplementedHere 501
└── Unavailable 503
    ├── Overloaded
    └── DeadlineExceeded
ConfigError                   a start prints it and stops
└── MissingPackage            an optional part is left out
"""

from http.client import responses
from typing import Annotated

import msgspec
from msgspec import Meta

PROBLEM = "application/problem+json"
"""The content type of a `Problem`."""


class ConfigError(Exception):
    """The configuration or an option is wrong; the operator reads the message."""


class MissingPackage(ConfigError):
    """A needed package is not installed; the message says how to install it."""


def first_line(error: Exception) -> str:
    """The first line of what an error of a library says, or its class, for a ConfigError."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]


class ServiceError(Exception):
    """An error that a client gets; `detail` says what to do, not how our services are built."""

    status = 500
    code = "internal"
    retry_after_s: int | None = None

    def __init__(self, detail: str, code: str | None = None, status: int | None = None) -> None:
        super().__init__(detail)
        self.detail = detail
        self.code = code or self.code
        self.status = status or self.status


class BadRequest(ServiceError):
    """The request is malformed or invalid."""

    status, code = 400, "bad_request"


class Unauthorized(ServiceError):
    """The key or token is missing or wrong."""

    status, code = 401, "unauthorized"


class Forbidden(ServiceError):
    """The caller may not do this, even with a valid key."""

    status, code = 403, "forbidden"


class NotFound(ServiceError):
    """The requested thing does not exist."""

    status, code = 404, "not_found"


class Gone(ServiceError):
    """The image is in the index, but its file is not there any more."""

    status, code = 410, "image_gone"


class TooLarge(ServiceError):
    """The request is over a size limit."""

    status, code = 413, "too_large"


class UnsupportedMedia(ServiceError):
    """The service does not read this type of content."""

    status, code = 415, "unsupported_media_type"


class Misdirected(ServiceError):
    """The request names a host that this server does not answer for."""

    status, code = 421, "misdirected"


class Unprocessable(ServiceError):
    """The content has a supported type, but is broken."""

    status, code = 422, "unprocessable"


class RateLimited(ServiceError):
    """The caller made more requests than its limit allows."""

    status, code = 429, "rate_limited"

    def __init__(self, detail: str, retry_after_s: int) -> None:
        super().__init__(detail)
        self.retry_after_s = retry_after_s


class ClientDisconnected(ServiceError):
    """The client closed the connection, so nobody reads the reply. Status 499 is nginx's."""

    status, code = 499, "caller_gone"


class NotImplementedHere(ServiceError):
    """The request is valid, and this server cannot do what it asks for."""

    status, code = 501, "not_implemented"


class Unavailable(ServiceError):
    """The request fails now; the same request may succeed later."""

    status, code = 503, "unavailable"
    retry_after_s = 1


class InvalidResponse(Unavailable):
    """A message between our services is invalid or was changed on the way."""

    code = "garbled"


class Overloaded(Unavailable):
    """A queue or a server takes no more requests now."""

    code = "overloaded"


class DeadlineExceeded(Unavailable):
    """The time for the answer ran out."""

    code = "deadline_exceeded"


class Problem(msgspec.Struct, omit_defaults=True):
    """The error of a request, as RFC 9457 problem details; between services also of an item."""

    status: Annotated[int, Meta(description="the HTTP status")]
    code: Annotated[str, Meta(description="what went wrong: stable, for programs")]
    detail: Annotated[str, Meta(description="what went wrong and what to do: for people")] = ""
    title: Annotated[str, Meta(description="the name of the status")] = ""
    request_id: Annotated[str, Meta(description="the id of the request, as in the logs")] = ""
    type: Annotated[str, Meta(description="left out, which means about:blank")] = "about:blank"

    @classmethod
    def of(cls, error: Exception) -> "Problem":
        """The problem for a client; an unforeseen error becomes `internal` without its text."""
        if isinstance(error, MemoryError):
            error = Unavailable("there is not enough memory for this just now", "out_of_memory")
        if isinstance(error, ServiceError):
            problem = cls(error.status, error.code, error.detail)
        else:
            problem = cls(500, "internal", "something went wrong on our side")
        problem.title = responses.get(problem.status, "Error")
        return problem

    def error(self) -> ServiceError:
        """The ServiceError of this problem, to raise it again."""
        kind = Unavailable if self.status == 503 else ServiceError
        return kind(self.detail, self.code, self.status)


def problem_headers(problem: Problem, error: Exception) -> dict[str, str]:
    """The headers of a reply that carries a problem."""
    headers = {"Content-Type": PROBLEM}
    if problem.status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    if problem.status in (429, 503):
        headers["Retry-After"] = str(getattr(error, "retry_after_s", None) or 1)
    return headers
