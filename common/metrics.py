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
    "clip_search_requests_total",
    "HTTP requests that were answered, refused ones too",
    ["service", "route", "status"],
)
REQUEST_SECONDS = Histogram(
    "clip_search_request_seconds",
    "Seconds that a request took in the application",
    ["service", "route"],
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5),
)
BATCH_ITEMS = Counter(
    "clip_search_batch_items_total",
    "Items that left a queue: ok, failed, refused (a full or long queue), "
    "expired (no time left), abandoned (nobody waits)",
    ["batcher", "outcome"],
)
BATCH_SIZE = Histogram(
    "clip_search_batch_size",
    "Items of a queue that went together",
    ["batcher"],
    buckets=(1, 2, 4, 8, 16, 32, 64, 128, 256, 512),
)
BATCH_FILL = Gauge(
    "clip_search_batch_fill",
    "Share of the largest batch that the last batch filled, by its items or their tokens, 0 to 1; "
    "of inference",
    ["batcher"],
)
QUEUE_ITEMS = Gauge(
    "clip_search_queue_items",
    "Items that wait in a queue of inference",
    ["batcher"],
)
IDLE_WORKERS = Gauge(
    "clip_search_idle_workers",
    "Replicas of a model that compute nothing for a queue, by the kind of their device",
    ["batcher", "device"],
)
REPLIES = Counter(
    "clip_search_replica_replies_total",
    "Requests to the replicas of a service, by their end: ok, late, unreachable, "
    "refused (a 5xx), garbled (an invalid reply), other-version",
    ["server", "outcome"],
)
EXTRA_REQUESTS = Counter(
    "clip_search_extra_requests_total",
    "Second requests to a service for one query: hedge, retry; and those for which no budget "
    "was left: hedge-over-budget, retry-over-budget",
    ["server", "why"],
)
REPLICA_OUT = Gauge(
    "clip_search_replica_out",
    "1 while a replica is ejected",
    ["server", "replica"],
    multiprocess_mode="livemax",
)
CACHE_REQUESTS = Counter(
    "clip_search_cache_requests_total",
    "Look-ups in the prediction cache, at the levels embedding, result and encoding: hit, miss, "
    "join (an equal query was under way), bypass (not asked)",
    ["level", "outcome"],
)
CACHE_EVICTIONS = Counter(
    "clip_search_cache_evictions_total", "Entries that left the memory cache to make room"
)
CACHE_BYTES = Gauge(
    "clip_search_cache_bytes",
    "Bytes of memory that the entries of the memory cache take, answers and encodings apart",
    ["store"],
    multiprocess_mode="livesum",
)
IN_FLIGHT = Gauge(
    "clip_search_in_flight",
    "Requests in hand, health and metrics not counted",
    ["service"],
    multiprocess_mode="livesum",
)
IN_FLIGHT_BYTES = Gauge(
    "clip_search_in_flight_bytes",
    "Bytes of the bodies of requests in hand, those up to 64 KiB not counted",
    ["service"],
    multiprocess_mode="livesum",
)
OLDEST_SECONDS = Gauge(
    "clip_search_oldest_request_seconds",
    "Age of the oldest request in hand, in seconds",
    ["service"],
    multiprocess_mode="livemax",
)
DRAINING = Gauge(
    "clip_search_draining",
    "1 from SIGTERM on",
    ["service"],
    multiprocess_mode="livemax",
)
READY = Gauge(
    "clip_search_ready",
    "1 if the last answer of /ready was 200",
    ["service"],
    multiprocess_mode="livemostrecent",
)
DROPPED = Counter(
    "clip_search_dropped_total",
    "Requests that were not worked on: overloaded (too many, or too many bytes, in hand), "
    "expired (no time left when they came), "
    "caller_gone (the connection was closed; search only)",
    ["service", "reason"],
)
STUCK = Counter(
    "clip_search_stuck_requests_total",
    "Requests that took longer than Process.stuck-s, or than a longer deadline of their own",
    ["service"],
)
ANSWERS = Counter(
    "clip_search_answers_total", "Answers of middle to searches: full, degraded", ["coverage"]
)
INDEX_IN_USE = Gauge(
    "clip_search_index_in_use",
    "1 for the index version that a search server answers from",
    ["version"],
)
INDEX_REFUSED = Counter(
    "clip_search_index_refused_total", "Index versions that a search server refused to load"
)
LOG_POSITION = Gauge(
    "clip_search_log_position",
    "Position of the last entry of the log that a search server has applied",
)
LOG_REFUSED = Counter(
    "clip_search_log_entries_refused_total",
    "Entries of the log that a search server cannot apply, such as vectors of another model",
)
DELTA_ROWS = Gauge(
    "clip_search_delta_rows",
    "Images that were put since the version was made, in the shards of a search server",
)
TOMBSTONES = Gauge(
    "clip_search_tombstones",
    "Images that were deleted or replaced since, in the shards of a search server",
)
PREPARE_DUE = Gauge(
    "clip_search_prepare_due",
    "1 if prepare should run: the deltas or the tombstones make searches slower",
)


def exposition() -> tuple[bytes, str]:
    """The metrics of all workers in the Prometheus format, and the content type."""
    registry = REGISTRY
    if values.ValueClass is not values.MutexValue:  # set up by common.server.worker_metrics
        registry = CollectorRegistry()
        multiprocess.MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    return generate_latest(registry), CONTENT_TYPE_LATEST
