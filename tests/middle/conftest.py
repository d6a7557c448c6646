"""What the tests of the prediction cache run against."""

from collections.abc import Iterator

import pytest

from devtools.collection import Collection
from devtools.services import Cluster, cluster


@pytest.fixture(scope="module")
def collection(tmp_path_factory: pytest.TempPathFactory) -> Collection:
    """40 images in two shards."""
    return Collection(tmp_path_factory.mktemp("cache"), images=40, shards=2)


@pytest.fixture(scope="module")
def services(collection: Collection) -> Iterator[Cluster]:
    """The servers behind, which no test stops."""
    with cluster(collection.config, 1, collection.folder) as running:
        yield running
