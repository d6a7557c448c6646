"""Many large uploads: the bytes in hand are bounded, and their memory is given back (kind I)."""

import threading
from collections.abc import Iterator

import pytest

from devtools.collection import Collection
from devtools.memory import resident_bytes
from devtools.services import Cluster, cluster, hanging, metric, wait_until, with_section
from tests.front.front_client import Reply, ask, assert_problem, upload
from tests.front.pictures import encoded, noise
from tests.servers import SERVERS, under

FILE = encoded(noise(size=(2560, 2540)), "BMP")
"""An image of 19.5 MB."""
UPLOADS, PLACES = 20, 3
GROWTH = 1.5
SERVICES = ("front", "middle", "inference")


@pytest.fixture(scope="module")
def collection(tmp_path_factory: pytest.TempPathFactory) -> Collection:
    """40 images in a shard."""
    return Collection(tmp_path_factory.mktemp("uploads"), images=40, shards=1)


@pytest.fixture(params=SERVERS)
def services(collection: Collection, request: pytest.FixtureRequest) -> Iterator[Cluster]:
    """All services; front has room for three files."""
    limit = (PLACES + 1) * len(FILE) - 1
    config = with_section(collection.config, "Front", max_in_flight_bytes=limit)
    config = with_section(config, "Middle", deadline_ms=30_000, cache="off")
    with cluster(under(str(request.param), config), 1, collection.folder) as running:
        yield running


class Uploading:
    """Files that are uploaded at the same time, each in a thread."""

    def __init__(self, services: Cluster, count: int) -> None:
        self.replies: list[Reply] = []
        self._services = services
        self._threads = [
            threading.Thread(target=self._upload, args=(number,)) for number in range(count)
        ]
        for thread in self._threads:
            thread.start()

    def _upload(self, number: int) -> None:
        file = FILE + bytes([number])  # each another one
        self.replies.append(upload(self._services, file))

    def statuses(self) -> list[int]:
        """Of all replies, once they are there."""
        for thread in self._threads:
            thread.join()
        return sorted(reply.status for reply in self.replies)


def memory(services: Cluster) -> dict[str, int]:
    """The resident bytes of each service that an upload passes."""
    return {name: resident_bytes(services.pids[name]) for name in SERVICES}


def test_of_20_uploads_at_once_those_over_the_bytes_are_refused(
    services: Cluster, collection: Collection
) -> None:
    """Row 26: 503 while the others hang; texts are none the worse, and the memory comes back."""
    assert 200 == ask(services, text="red").status
    base = memory(services)
    with hanging(services.inference):
        uploading = Uploading(services, UPLOADS)
        wait_until(lambda: UPLOADS - PLACES == len(uploading.replies))
        for refused in uploading.replies:
            assert_problem(refused, 503, "overloaded")
            assert int(refused.headers["Retry-After"]) > 0
        held = metric(services.front, 'in_flight_bytes{service="front"}')
        assert PLACES * len(FILE) < held < (PLACES + 1) * len(FILE)
        vector = collection.vectors()[0].tolist()
        assert 200 == ask(services, embedding=vector).status
    assert [200] * PLACES + [503] * (UPLOADS - PLACES) == uploading.statuses()
    for number in range(UPLOADS // 2):  # one after another
        assert 200 == upload(services, FILE + bytes([UPLOADS + number])).status

    def is_back() -> bool:
        now = memory(services)
        return all(now[name] < GROWTH * base[name] for name in SERVICES)

    wait_until(is_back)
