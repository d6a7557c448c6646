"""docs/reference/metrics.md: every metric of common/metrics.py, with its labels."""

import ast
from collections.abc import Iterator
from typing import NamedTuple

from common.config import CHECKOUT
from devtools.reference.markdown import wrapped

SOURCE = "common/metrics.py"
KINDS = ("Counter", "Gauge", "Histogram")
HEAD = """# Metrics

Every service answers `GET /metrics` in the text format of Prometheus. The figures of all worker
processes of a service are added up. Labels have few values: routes and services, never what a user
sent. A histogram `NAME` is exposed as `NAME_bucket`, `NAME_sum` and `NAME_count`.

| label | values |
| --- | --- |
| `service` | `front`, `middle`, `inference`, `search`, `gateway` |
| `server` | a service that has replicas: `middle`, `inference`, `search-0`, `search-1`, ... |
| `replica` | its place in `server-list`, from 0 |
| `batcher` | a queue: `search-0`, `inference-clip-texts`, ...; in inference `clip-text`, ... |
| `device` | a kind of device: `cpu`, `cuda` (NVIDIA), `gpu` (Intel) |
| `store` | a part of the memory cache: `answers` (with embeddings), `encodings` |
| `route` | a route as the code has it, or `unknown` |

The [dashboard](../observability/dashboard.json) and the [alerts](../observability/alerts.yml) are
made of these metrics; [observability.md](../observability.md) says how to use them.
"""


class Metric(NamedTuple):
    """A metric as the code defines it."""

    name: str
    kind: str
    meaning: str
    labels: list[str]


def page() -> str:
    """The page."""
    return HEAD + "".join(map(_entry, metrics()))


def metrics() -> Iterator[Metric]:
    """The metrics in the order of the code."""
    for node in ast.parse((CHECKOUT / SOURCE).read_text()).body:
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Call):
            kind = ast.unparse(node.value.func)
            if kind in KINDS:
                name, meaning, *labels = map(ast.literal_eval, node.value.args)
                yield Metric(name, kind, meaning, labels[0] if labels else [])


def _entry(metric: Metric) -> str:
    labels = ", ".join(f"`{label}`" for label in metric.labels)
    facts = f"{metric.kind} by {labels}." if labels else f"{metric.kind}."
    return f"\n### {metric.name}\n\n{facts}\n\n{wrapped(metric.meaning)}.\n"
