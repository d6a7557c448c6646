"""A run on a Ray cluster, which loses nodes and the driver: what is made is what one run makes."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from common.errors import MissingPackage
from prepare import ray_runner
from prepare.plans import PlanFolder
from tests.prepare.parted import everything, many, opened
from tests.prepare.prepared_folder import Workspace
from tests.prepare.waiting import wait_for

NODES = 3


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A head without cores, and three nodes of one core; programs find it."""
    pytest.importorskip("ray", reason="requirements-ray.txt is not installed")
    from ray.cluster_utils import Cluster

    monkeypatch.setenv("RAY_usage_stats_enabled", "0")
    monkeypatch.setenv("RAY_health_check_period_ms", "1000")
    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 0})
    for _ in range(NODES):
        made.add_node(num_cpus=1)
    monkeypatch.setenv("RAY_ADDRESS", made.address)
    yield made
    made.shutdown()


def lose_node(cluster: Any) -> None:
    """Kill all processes of a node."""
    (*_, node) = cluster.worker_nodes
    cluster.remove_node(node, allow_graceful=False)


def is_amid(plan: PlanFolder) -> bool:
    """Whether some tasks are done and some are not."""
    return bool(plan.done() and plan.missing())


def test_a_cluster_makes_what_one_run_makes(tmp_path: Path, model: Path, cluster: Any) -> None:
    """The driver is killed, and a node, amid the chunks; another node amid the shards."""
    collection = many(tmp_path / "collection", model)
    local = collection.copy(tmp_path / "local")
    local.prepare()

    driver = collection.start("--engine", "ray")
    plan = opened(collection.embeddings.path, driver)
    wait_for(lambda: is_amid(plan), driver)
    os.kill(driver.pid, signal.SIGKILL)
    driver.communicate()
    assert is_amid(plan)
    driver = collection.start("--engine", "ray")
    done = len(plan.done())
    wait_for(lambda: len(plan.done()) > done, driver)
    lose_node(cluster)
    assert plan.missing(), "it was lost before the end"
    shards = opened(collection.folders.index / "v000001", driver)
    wait_for(lambda: is_amid(shards), driver)
    lose_node(cluster)
    assert shards.missing(), "it was lost before the end"

    told, _ = driver.communicate(timeout=120)
    assert driver.returncode == 0, told
    assert everything(local) == everything(collection)


def test_without_ray_one_line_names_it(
    tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the command that installs it."""
    monkeypatch.setattr(ray_runner, "ray", None)
    with (
        pytest.raises(
            MissingPackage, match=r"^--engine ray: pip install -r requirements-ray\.txt$"
        ),
        ray_runner.cluster(Workspace(tmp_path, model).loaded),
    ):
        pass
