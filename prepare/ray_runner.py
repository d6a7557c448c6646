"""The tasks of a run on a Ray cluster, whose nodes see the same folders under the same paths.

A task of ours is a task of Ray, which runs it again elsewhere when its node is lost.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import islice
from typing import Any

from common.config import CHECKOUT, Loaded
from common.errors import ConfigError, MissingPackage
from prepare.parts import DoAll
from prepare.plans import PlanFolder, Worker
from prepare.progress import Progress

try:
    import ray
except ImportError:
    raise MissingPackage("--engine ray needs: pip install -r requirements-ray.txt") from None

AHEAD = 2
"""Tasks that are handed over for each that may run, so that no node waits for the driver."""

Kind = Callable[[Loaded], Worker]
"""The class of a worker."""

_workers: dict[Kind, Worker] = {}
"""Of a process of Ray, which is of one run: the next task finds the model loaded."""


@contextmanager
def cluster(loaded: Loaded) -> Iterator[DoAll]:
    """Use the cluster of RAY_ADDRESS, or that of this machine, or one that starts here.

    A task has all cores and GPUs of the smallest node. What is yielded raises ConfigError.
    """
    path = {"PYTHONPATH": str(CHECKOUT)}
    ray.init(log_to_driver=False, runtime_env={"env_vars": path})
    try:
        yield lambda plan, worker: _do_all(loaded, plan, worker)
    finally:
        ray.shutdown()


def _do_all(loaded: Loaded, plan: PlanFolder, worker: Worker) -> list[int]:
    """Have all tasks of a plan done by the cluster: see `DoAll`."""
    alive = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    nodes = [node for node in alive if node.get("CPU")]
    if not nodes:
        raise ConfigError("--engine ray: no node of the cluster has cores")
    cores, gpus = (min(node.get(kind, 0) for node in nodes) for kind in ("CPU", "GPU"))
    settings = {"max_retries": -1, "scheduling_strategy": "SPREAD"}
    run = ray.remote(_do).options(num_cpus=cores, num_gpus=gpus, **settings)
    missing = plan.missing()
    left = (run.remote(type(worker), loaded, plan, number) for number in missing)
    running: list[Any] = list(islice(left, AHEAD * len(nodes)))
    with Progress("on Ray", len(missing), "tasks") as progress:
        while running:
            done, running = ray.wait(running)
            _raise(done)
            progress.add(len(done))
            running += islice(left, len(done))
    return missing


def _do(kind: Kind, loaded: Loaded, plan: PlanFolder, number: int) -> None:
    """Do a task in a process of Ray."""
    worker = _workers.setdefault(kind, kind(loaded))
    with plan.until_closed():
        worker.work(plan, [number])


def _raise(done: list[Any]) -> None:
    """Raise the error of a task as it was raised there."""
    try:
        ray.get(done)
    except ray.exceptions.RayTaskError as error:
        raise error.cause from None
