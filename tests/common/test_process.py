"""The life of a server process."""

import signal
import threading
from pathlib import Path

import pytest

from tests.collection import Collection
from tests.services import cluster, running, stop, with_section


@pytest.fixture(scope="module")
def collection(tmp_path_factory: pytest.TempPathFactory) -> Collection:
    """A few images in one shard."""
    return Collection(tmp_path_factory.mktemp("collection"), images=12, shards=1)


def test_two_workers_answer_without_crossing_and_add_up_their_metrics(
    collection: Collection,
) -> None:
    """Interleaved queries to two workers each get their own answer; /metrics counts them all."""
    config = with_section(collection.config, "Middle", workers=2, threads=8)
    config = with_section(config, "Front", workers=2, threads=8)
    names = collection.paths()
    wrong: list[str] = []
    with cluster(config, 1, collection.folder) as services:

        def ask(name: str) -> None:
            data = (collection.folder / name).read_bytes()
            for _ in range(20):
                reply = services.front.request("POST", "/v1/search", fields={"image": ("q", data)})
                if reply.json()["hits"][0]["path"] != name:
                    wrong.append(name)

        threads = [threading.Thread(target=ask, args=(name,)) for name in names]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        metrics = services.front.request("GET", "/metrics").data.decode()

    assert [] == wrong
    line = 'requests_total{route="/v1/search",service="front",status="200"} '
    (counted,) = [x.split()[-1] for x in metrics.splitlines() if line in x]
    assert 20 * len(names) == float(counted)


def test_a_server_in_the_background_of_a_script_ends_on_sigterm(tmp_path: Path) -> None:
    """Started with SIGINT ignored, as the shell does for `&`, it still ends."""
    config = with_section({}, "Search", server_list=["127.0.0.1:0"])
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)  # the child inherits it
    try:
        with running("search/search.py", config, cwd=tmp_path) as service:
            assert 0 == stop(service.process)
    finally:
        signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize("script", ["front/front.py", "middle/middle.py", "search/search.py"])
def test_a_server_ends_well_on_sigterm_and_on_sigint(script: str, tmp_path: Path) -> None:
    """Exit status 0 for a SIGTERM; a SIGINT ends it too."""
    config = {"Front": {"port": 0}, "Middle": {"port": 0}}
    config = with_section(config, "Search", server_list=["127.0.0.1:0"])
    with running(script, config, cwd=tmp_path) as service:
        assert 0 == stop(service.process)
    with running(script, config, cwd=tmp_path) as service:
        service.ended = True
        service.process.send_signal(signal.SIGINT)
        service.process.wait(20)
