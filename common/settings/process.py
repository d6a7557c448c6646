"""The section Process of config.json."""

from typing import Annotated, Literal

from msgspec import Meta

from common.settings.section import Seconds, Section


class Process(Section, frozen=True):
    """What holds for the process of every service."""

    server: Annotated[
        Literal["auto", "granian"],
        Meta(
            description="The HTTP server. `auto`: gunicorn for front and middle, waitress for"
            " search and inference, gunicorn for these, too, with `Inside.tls-cert`."
            " `granian`: granian for all, after `pip install -r requirements-granian.txt`;"
            " docs/operations.md has the differences."
        ),
    ] = "auto"
    drain_wait_s: Annotated[
        float,
        Meta(
            ge=0,
            le=600,
            description="How long a service serves on after SIGTERM, with `/ready` at 503."
            " Give a load balancer the time to notice: 5 for Kubernetes.",
        ),
    ] = 0.0
    log_level: Annotated[
        Literal["info", "debug"],
        Meta(
            description="`info`: requests that are slow or fail."
            " `debug`: all requests, and whole tracebacks."
        ),
    ] = "info"
    stuck_s: Annotated[
        Seconds,
        Meta(
            description="A request that takes longer is logged once,"
            " with the line where its thread stands. The default is three deadlines."
            " One with a deadline of its own, such as a segment, is logged 5 s after that."
        ),
    ] = 6.0
    traces: Annotated[
        str | None,
        Meta(
            description="The address of an OpenTelemetry collector (OTLP over HTTP),"
            " `http://127.0.0.1:4318`. It needs `pip install -r requirements-otel.txt`."
        ),
    ] = None
