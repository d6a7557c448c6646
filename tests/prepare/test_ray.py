"""Runs on a Ray cluster that lose nodes and the driver: what is made is what one process makes.

The usual run has all faults in one run of prepare. `make hosts` tries each by itself, too, among
ten times as many images.
"""

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from common.errors import MissingPackage
from devtools.services import wait_until
from prepare.plans import PlanFolder
from tests.hosts.network import need_namespaces
from tests.prepare.parted import everything, many, opened
from tests.prepare.prepared_folder import Workspace
from tests.prepare.ray_cluster import (
    SETTINGS,
    RayCluster,
    is_busy,
    ray_cluster,
    stopped,
    workers,
)
from tests.prepare.waiting import wait_for

IS_LONG = bool(os.environ.get("ALL_ORDERS"))


class Run:
    """A run of prepare on a cluster."""

    def __init__(self, cluster: RayCluster, collection: Workspace) -> None:
        self.cluster = cluster
        self.collection = collection
        self.start()

    def start(self) -> None:
        """Start the driver, on the head."""
        self.driver = self.collection.start("--engine", "ray", python=self.cluster.head.python)

    def chunks(self) -> PlanFolder:
        """The plan of the chunks, as soon as it is open."""
        return opened(self.collection.embeddings.path, self.driver)

    def shards(self) -> PlanFolder:
        """The plan of the shards, as soon as it is open."""
        return opened(self.collection.folders.index / "v000001", self.driver)

    def end(self) -> None:
        """Wait until the driver ends well."""
        told, _ = self.driver.communicate(timeout=120)
        assert self.driver.returncode == 0, told


def kill_node(run: Run, plan: PlanFolder) -> None:
    """A node dies in the middle of a task."""
    node, _ = run.cluster.stop_amid_task()
    assert plan.missing()
    run.cluster.kill(node)


def kill_driver(run: Run, plan: PlanFolder) -> None:
    """The driver dies; the next goes on with what is done."""
    wait_for(lambda: bool(plan.done()), run.driver)
    _, process = run.cluster.stop_amid_task()
    assert plan.missing()
    left = workers(run.cluster.head, *run.cluster.nodes)
    run.driver.kill()
    with suppress(psutil.NoSuchProcess):  # its node knows already that the driver is dead
        process.resume()
    run.driver.communicate()
    wait_until(lambda: not any(map(is_busy, left)))
    run.start()


def cut_off(run: Run, plan: PlanFolder) -> None:
    """A host is cut off in the middle of a task, and ends it before anybody knows."""
    node, process = run.cluster.stop_amid_task()
    run.cluster.cut(node)
    others = {run.cluster.head, *run.cluster.nodes} - {node}
    with stopped(workers(*others)):
        done = plan.done()
        process.resume()
        wait_for(lambda: plan.done() != done, run.driver)


def cut_off_for_long(run: Run, plan: PlanFolder) -> None:
    """A host is cut off in the middle of a task, and ends it when all is done without it."""
    node, process = run.cluster.stop_amid_task()
    assert plan.missing()
    run.cluster.cut(node)
    run.end()
    process.resume()
    wait_until(lambda: not is_busy(process))


@pytest.fixture(scope="module")
def started() -> Iterator[RayCluster]:
    """The cluster of all tests; programs find it."""
    need_namespaces()
    with pytest.MonkeyPatch.context() as patch:
        for name, value in SETTINGS.items():
            patch.setenv(name, value)
        with ray_cluster() as cluster:
            patch.setenv("RAY_ADDRESS", cluster.address)
            yield cluster


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory, model: Path) -> Workspace:
    """Many chunks and shards; to be copied, not changed."""
    return many(tmp_path_factory.mktemp("ray") / "images", model, 900 if IS_LONG else 90)


@pytest.fixture(scope="module")
def local(images: Workspace) -> tuple[object, ...]:
    """What a run without Ray makes of the images."""
    made = images.copy(images.root.with_name("local"))
    made.prepare()
    return everything(made)


@pytest.fixture
def run(started: RayCluster, images: Workspace, tmp_path: Path) -> Iterator[Run]:
    """A run with a copy of the images; the cluster is whole at its beginning."""
    started.repair()
    run = Run(started, images.copy(tmp_path / "collection"))
    yield run
    with run.driver:  # closes its output
        run.driver.kill()


def test_a_run_survives_everything(run: Run, local: tuple[object, ...]) -> None:
    """The driver and two nodes die, and a host is cut off: one node is left."""
    kill_driver(run, run.chunks())
    kill_node(run, run.chunks())
    cut_off(run, run.chunks())
    kill_node(run, run.shards())
    run.end()

    assert local == everything(run.collection)


@pytest.mark.skipif(not IS_LONG, reason="`make hosts` tries each fault by itself, minutes")
@pytest.mark.parametrize("plan", [Run.chunks, Run.shards])
@pytest.mark.parametrize("fault", [kill_node, kill_driver, cut_off, cut_off_for_long])
def test_a_run_survives(
    run: Run,
    local: tuple[object, ...],
    fault: Callable[[Run, PlanFolder], None],
    plan: Callable[[Run], PlanFolder],
) -> None:
    """Each fault, amid chunks and amid shards."""
    fault(run, plan(run))
    run.end()

    assert local == everything(run.collection)


def test_without_ray_one_line_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the command that installs it."""
    monkeypatch.setitem(sys.modules, "ray", None)
    monkeypatch.delitem(sys.modules, "prepare.ray_runner", raising=False)

    with pytest.raises(
        MissingPackage, match=r"^--engine ray needs: pip install -r requirements-ray\.txt$"
    ):
        from prepare import ray_runner  # noqa: F401
