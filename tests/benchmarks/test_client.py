"""The client that sends one request over and over."""

import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from benchmarks.client import MODES, Client, read, statuses, summarize
from benchmarks.workers import measure
from common.errors import ConfigError
from devtools.collection import Collection
from devtools.services import CHECKOUT, Cluster, cluster, with_section

CLIENT = Client("", "search text", "a red square", "images/0007.png", 7, 3, 3, 1)


@pytest.fixture(scope="module")
def services(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A search over 20 images."""
    collection = Collection(tmp_path_factory.mktemp("collection"), images=20, shards=1)
    # A machine that is busy with other work makes no failures.
    config = with_section(collection.config, "Middle", deadline_ms=30_000)
    with cluster(config, 1, collection.folder) as running:
        yield running


def write(client: Client, services: Cluster, folder: Path) -> Path:
    """The file of a client that asks `services`."""
    path = folder / "client.json"
    client = msgspec.structs.replace(client, address=services.front.address)
    path.write_bytes(msgspec.json.encode(client))
    return path


@pytest.mark.parametrize("endpoint", ["search text", "search image", "classify"])
@pytest.mark.parametrize("mode", MODES)
def test_what_was_sent_is_what_the_server_counted(
    services: Cluster, tmp_path: Path, mode: str, endpoint: str
) -> None:
    """Each endpoint in each mode: as many requests as the server says, and none failed."""
    image = str(CHECKOUT / "samples/owl.jpg")
    client = msgspec.structs.replace(CLIENT, endpoint=endpoint, image=image)
    report = MODES[mode](read(write(client, services, tmp_path)))

    assert {"200": report.requests} == report.by_status
    assert 0 == report.failures
    assert report.requests == 7 or mode == "locust"
    assert 0 < report.p50_ms <= report.p95_ms <= report.p99_ms


@pytest.mark.parametrize("mode", MODES)
def test_refused_requests_are_failures(services: Cluster, tmp_path: Path, mode: str) -> None:
    """A text that is none: all fail, and the server counted them as 400."""
    client = msgspec.structs.replace(CLIENT, text=" ")
    report = MODES[mode](read(write(client, services, tmp_path)))

    assert report.requests == report.failures > 0
    assert {"400": report.requests} == report.by_status


def test_the_command_prints_the_report(services: Cluster, tmp_path: Path) -> None:
    """`--mode single` is the default; the image's path starts from the file's folder."""
    (tmp_path / "owl.jpg").write_bytes((CHECKOUT / "samples/owl.jpg").read_bytes())
    client = msgspec.structs.replace(CLIENT, endpoint="search image", image="owl.jpg")
    command = [sys.executable, "benchmarks/client.py", "--config"]
    done = subprocess.run(
        [*command, str(write(client, services, tmp_path))],
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
        check=False,
    )

    assert 0 == done.returncode, done.stderr
    lines = [line.split() for line in done.stdout.splitlines()]
    assert ["requests", "7"] in lines
    assert ["failures", "0"] in lines
    assert ["status", "200", "7"] in lines


def test_a_configuration_or_server_that_is_wrong_is_told(tmp_path: Path) -> None:
    """An unknown key, and an address where nothing listens."""
    path = tmp_path / "client.json"
    path.write_text('{"adress": "127.0.0.1:8000"}')

    with pytest.raises(ConfigError, match="adress"):
        read(path)
    with pytest.raises(ConfigError, match="does not answer"):
        statuses("127.0.0.1:1", "/v1/search")


def test_the_file_that_is_there_is_read() -> None:
    """`client.json` names an image that is in the samples."""
    assert Path(read(CHECKOUT / "benchmarks/client.json").image).is_file()


def test_a_report_has_means_and_percentiles() -> None:
    """Of 1 to 100 ms."""
    report = summarize([float(ms) for ms in range(1, 101)], 3, 2.0, Counter({"200": 100}))

    assert (100, 3, 50, 50.5) == report[:4]
    assert [50.5, 95.05, 99.01] == pytest.approx([report.p50_ms, report.p95_ms, report.p99_ms])


def test_each_number_of_workers_has_its_figures() -> None:
    """One and two workers, for a second each: requests were answered, and none failed."""
    one, _, two, _ = measure(workers=(1, 2), rounds=1, run_time_s=1)

    assert ["1 workers", "2 workers"] == [one.name, two.name]
    assert min(one.value, two.value) > 0
    assert ["0 failures"] * 2 == [one.note, two.note]
