"""A gateway over the starter and the photographs that ship."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from devtools.fork_server import run_forked
from devtools.gateways import RunningGateway, gateway
from devtools.services import CHECKOUT, Cluster, cluster

SAMPLES = CHECKOUT / "samples"


@pytest.fixture(scope="session")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an index of the samples."""
    root = tmp_path_factory.mktemp("gateway")
    done = run_forked("prepare/prepare.py", {}, str(SAMPLES), cwd=root)
    assert done.returncode == 0, done.stderr
    return root


@pytest.fixture(scope="session")
def services(root: Path) -> Iterator[Cluster]:
    """All services over it, which no test stops."""
    with cluster({}, 1, root) as started:
        yield started


@pytest.fixture(scope="module")
def served(services: Cluster, root: Path) -> Iterator[RunningGateway]:
    """A gateway before them."""
    with gateway(services.config, root) as started:
        yield started
