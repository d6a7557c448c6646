"""Reading the metrics of this process."""

from prometheus_client import REGISTRY


def counted(metric: str, **labels: str) -> float:
    """What a metric stands at; 0 before it was first counted."""
    return REGISTRY.get_sample_value(metric, labels) or 0.0
