from collections.abc import Iterator

import pytest

from devtools import services
from devtools.collection import Collection
from devtools.nginx import MANY, edge
from devtools.services import Cluster
from tests.nginx import skip_without_nginx


@pytest.fixture(scope="session")
def nginx() -> None:
    """Skip where there is none."""
    skip_without_nginx()


@pytest.fixture(scope="session")
def collection(nginx: None, tmp_path_factory: pytest.TempPathFactory) -> Collection:
    """Some images, indexed."""
    return Collection(tmp_path_factory.mktemp("edge"), 20, 2)


@pytest.fixture(scope="session")
def behind(collection: Collection) -> Iterator[Cluster]:
    """All services, behind the edge."""
    with services.cluster(collection.config, 1, collection.folder) as running:
        yield running


@pytest.fixture(scope="session")
def address(behind: Cluster, collection: Collection) -> Iterator[str]:
    """Where the edge listens."""
    with edge(behind.front.port, collection.folder, MANY) as port:
        yield f"http://127.0.0.1:{port}"
