"""Batches that fail run again item by item, so that only the bad item fails."""

import logging
from collections.abc import Sequence
from typing import Any

from common.batcher import Run

log = logging.getLogger(__name__)


def isolating(run: Run) -> Run:
    """Wrap `run`: a failed batch is run item by item, so that only the bad item fails."""

    def run_isolated(items: list[Any], deadline: float) -> Sequence[Any]:
        try:
            return run(items, deadline)
        except Exception as error:  # any error of a runtime
            if len(items) == 1:
                raise
            log.warning("a batch of %d failed, running its items alone: %s", len(items), error)
            return [_alone(run, item, deadline) for item in items]

    return run_isolated


def _alone(run: Run, item: Any, deadline: float) -> Any:
    try:
        return run([item], deadline)[0]
    except Exception as error:  # it becomes the result of the item
        return error
