"""Traces by OpenTelemetry, for those who install it; off, nothing of it is imported or run."""

import time
from importlib.util import find_spec

from flask import Flask, Response, g, request

from common.errors import MissingPackage
from common.origin import ORIGIN

PACKAGE = "opentelemetry.exporter.otlp.proto.http"
STAGES = ("embed", "search")
"""Parts of an answer that have spans of their own, one after the other."""


def require() -> None:
    """Raise MissingPackage unless there is what `trace` needs."""
    try:
        found = find_spec(PACKAGE)
    except ModuleNotFoundError:
        found = None
    if found is None:
        raise MissingPackage("Process.traces needs: pip install -r requirements-otel.txt")


def trace(app: Flask, endpoint: str) -> None:
    """Send a span of each request of an app to a collector; call it after the fork.

    Its parent comes with the request, by W3C Trace Context, and goes on with `ORIGIN`.
    """
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor
    from opentelemetry.trace import SpanKind, set_span_in_context
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    provider = TracerProvider(resource=Resource({"service.name": f"clip-search-{app.name}"}))
    exporter = OTLPSpanExporter(f"{endpoint.rstrip('/')}/v1/traces")
    provider.add_span_processor(BatchSpanProcessor(exporter))
    app.extensions["closing"].callback(provider.shutdown)
    tracer, propagator = provider.get_tracer("clip-search"), TraceContextTextMapPropagator()

    @app.before_request
    def begin() -> None:
        route = request.url_rule.rule if request.url_rule else "unknown"
        parent = propagator.extract(request.headers)
        g.span = tracer.start_span(f"{request.method} {route}", parent, SpanKind.SERVER)
        carrier: dict[str, str] = {}
        propagator.inject(carrier, set_span_in_context(g.span))
        ORIGIN.set(ORIGIN.get()._replace(traceparent=carrier["traceparent"]))

    @app.after_request
    def end(response: Response) -> Response:
        g.span.set_attribute("http.response.status_code", response.status_code)
        g.span.set_attribute("clip_search.request_id", g.request_id)
        ends_ns = time.time_ns()
        for stage in reversed(STAGES):
            took_ns = int(1e6 * g.get("took_ms", {}).get(stage, 0))
            if took_ns:
                began_ns = ends_ns - took_ns
                context = set_span_in_context(g.span)
                tracer.start_span(stage, context, start_time=began_ns).end(ends_ns)
                ends_ns = began_ns
        g.span.end()
        return response
