"""Traces by OpenTelemetry, an optional package that is imported only with Process.traces."""

import time
from collections.abc import Mapping
from importlib.util import find_spec
from typing import Any

from common.errors import MissingPackage
from common.request_context import CONTEXT

PACKAGE = "opentelemetry.exporter.otlp.proto.http"
STAGES = ("embed", "search")
"""Parts of an answer with a span each, in order of time."""


def require() -> None:
    """Raise MissingPackage if OpenTelemetry is not installed."""
    try:
        found = find_spec(PACKAGE)
    except ModuleNotFoundError:
        found = None
    if found is None:
        raise MissingPackage("Process.traces needs: pip install -r requirements-otel.txt")


class Tracer:
    """Sends a span of each request of a service to a collector; create it after the fork."""

    def __init__(self, service: str, endpoint: str) -> None:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor

        resource = Resource({"service.name": f"clip-search-{service}"})
        self._provider = TracerProvider(resource=resource)
        exporter = OTLPSpanExporter(f"{endpoint.rstrip('/')}/v1/traces")
        self._provider.add_span_processor(BatchSpanProcessor(exporter))
        self._tracer = self._provider.get_tracer("clip-search")

    def close(self) -> None:
        """Send the remaining spans."""
        self._provider.shutdown()

    def begin(self, name: str, headers: Mapping[str, str]) -> Any:
        """Start the span of a request.

        The parent span comes from the headers (W3C Trace Context). `CONTEXT` carries the new span
        to other services.
        """
        from opentelemetry.trace import SpanKind, set_span_in_context
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        propagator = TraceContextTextMapPropagator()
        span = self._tracer.start_span(name, propagator.extract(headers), SpanKind.SERVER)
        carrier: dict[str, str] = {}
        propagator.inject(carrier, set_span_in_context(span))
        CONTEXT.set(CONTEXT.get()._replace(traceparent=carrier["traceparent"]))
        return span

    def end(self, span: Any, status: int, request_id: str, took_ms: Mapping[str, float]) -> None:
        """End the span of a request, with a child span for each stage in `took_ms`."""
        from opentelemetry.trace import set_span_in_context

        span.set_attribute("http.response.status_code", status)
        span.set_attribute("clip_search.request_id", request_id)
        context, ends_ns = set_span_in_context(span), time.time_ns()
        for stage in reversed(STAGES):
            if took_ns := int(1e6 * took_ms.get(stage, 0)):
                began_ns = ends_ns - took_ns
                self._tracer.start_span(stage, context, start_time=began_ns).end(ends_ns)
                ends_ns = began_ns
        span.end()
