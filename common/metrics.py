"""The metrics that every service has; `GET /metrics` exposes them."""

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    REGISTRY,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    generate_latest,
    multiprocess,
    values,
)

REQUESTS = Counter(
    "clip_search_requests_total", "HTTP requests answered", ["service", "route", "status"]
)
REQUEST_SECONDS = Histogram(
    "clip_search_request_seconds",
    "Time to answer an HTTP request",
    ["service", "route"],
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5),
)
BATCH_ITEMS = Counter(
    "clip_search_batch_items_total", "Items that left a batcher's queue", ["batcher", "outcome"]
)
BATCH_SIZE = Histogram(
    "clip_search_batch_size",
    "Items that were run together",
    ["batcher"],
    buckets=(1, 2, 4, 8, 16, 32, 64, 128, 256, 512),
)
REPLIES = Counter(
    "clip_search_replica_replies_total",
    "What requests to the replicas of a search server ended in",
    ["server", "outcome"],
)
EXTRA_REQUESTS = Counter(
    "clip_search_extra_requests_total",
    "Requests sent to a second replica, and those for which there was no budget",
    ["server", "why"],
)
REPLICA_OUT = Gauge(
    "clip_search_replica_out",
    "1 while a replica of a search server is asked nothing",
    ["server", "replica"],
    multiprocess_mode="livemax",
)
CACHE_REQUESTS = Counter(
    "clip_search_cache_requests_total", "Look-ups in the prediction cache", ["level", "outcome"]
)
CACHE_EVICTIONS = Counter(
    "clip_search_cache_evictions_total", "Entries dropped from memory to make room"
)
CACHE_BYTES = Gauge(
    "clip_search_cache_bytes", "Memory that entries take", multiprocess_mode="livesum"
)
IN_FLIGHT = Gauge(
    "clip_search_in_flight",
    "Requests in hand",
    ["service"],
    multiprocess_mode="livesum",
)
OLDEST_SECONDS = Gauge(
    "clip_search_oldest_request_seconds",
    "Age of the oldest request in hand",
    ["service"],
    multiprocess_mode="livemax",
)
DRAINING = Gauge(
    "clip_search_draining",
    "1 once the service was told to stop",
    ["service"],
    multiprocess_mode="livemax",
)
READY = Gauge(
    "clip_search_ready",
    "1 when the service said that it is ready the last time it was asked",
    ["service"],
    multiprocess_mode="livemostrecent",
)
DROPPED = Counter(
    "clip_search_dropped_total",
    "Requests that were not begun: overloaded, expired, caller_gone",
    ["service", "reason"],
)
STUCK = Counter(
    "clip_search_stuck_requests_total", "Requests that took several deadlines", ["service"]
)
ANSWERS = Counter("clip_search_answers_total", "Answers to queries", ["coverage"])
INDEX_IN_USE = Gauge("clip_search_index_in_use", "1 for the index version in use", ["version"])
INDEX_REFUSED = Counter(
    "clip_search_index_refused_total", "New index versions that were not put in use"
)


def exposition() -> tuple[bytes, str]:
    """All metrics, those of sibling workers too, in the Prometheus format; and its content type."""
    registry = REGISTRY
    if values.ValueClass is not values.MutexValue:  # set up by common.server.worker_metrics
        registry = CollectorRegistry()
        multiprocess.MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    return generate_latest(registry), CONTENT_TYPE_LATEST
