"""The client that sends one request over and over."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from devtools.collection import Collection
from devtools.services import CHECKOUT, Cluster, cluster, with_section
from tests.fake_server import Quiet, answering

OWL = CHECKOUT / "samples/owl.jpg"
CLIENT: dict[str, Any] = {
    "endpoint": "search text",
    "text": "a red square",
    "image": str(OWL),
    "count": 7,
    "users": 3,
    "spawn_rate": 3,
    "run_time_s": 1,
    "key": "",
}
MODES = ("single", "locust")
COUNT = 'clip_search_requests_total{route="/v1/search",status="200"}'


class FrontWithKeys(Quiet):
    """Whose searches want a key, as its counts do: two keys, one good for searches alone."""

    searches = 0

    def do_GET(self) -> None:  # noqa: N802
        """The counts."""
        self._answer({"Bearer all": 200, "Bearer search": 403}, f"{COUNT} {self.searches}\n")

    def do_POST(self) -> None:  # noqa: N802
        """A search."""
        self.rfile.read(int(self.headers["Content-Length"]))
        type(self).searches += 1
        self._answer({"Bearer all": 200, "Bearer search": 200}, "{}")

    def _answer(self, statuses: dict[str, int], text: str) -> None:
        status = statuses.get(self.headers["Authorization"] or "", 401)
        body = (text if status == 200 else '{"title": "refused"}').encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


@pytest.fixture(scope="module")
def services(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A search over 20 images."""
    collection = Collection(tmp_path_factory.mktemp("collection"), images=20, shards=1)
    # A machine that is busy with other work makes no failures.
    config = with_section(collection.config, "Middle", deadline_ms=30_000)
    with cluster(config, 1, collection.folder) as running:
        yield running


def client(folder: Path, *arguments: str, **settings: Any) -> subprocess.CompletedProcess[str]:
    """Run the client with a configuration in a folder."""
    path = folder / "client.json"
    path.write_bytes(msgspec.json.encode({**CLIENT, **settings}))
    return started(path, *arguments)


def started(path: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the client with a configuration."""
    command = [sys.executable, "benchmarks/client.py", "--config", str(path), *arguments]
    return subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, check=False)


def report(folder: Path, services: Cluster, mode: str, **settings: Any) -> dict[str, float]:
    """The figures that the client prints, by name."""
    return figures(client(folder, "--mode", mode, address=services.front.address, **settings))


def figures(done: subprocess.CompletedProcess[str]) -> dict[str, float]:
    """The figures that a client has printed, by name."""
    assert 0 == done.returncode, done.stderr
    lines = [line.rsplit(maxsplit=1) for line in done.stdout.splitlines()]
    return {name.strip(): float(value) for name, value in lines if value != "server:"}


@pytest.mark.parametrize("endpoint", ["search text", "search image", "classify"])
@pytest.mark.parametrize("mode", MODES)
def test_what_was_sent_is_what_the_server_counted(
    services: Cluster, tmp_path: Path, mode: str, endpoint: str
) -> None:
    """Each endpoint in each mode: as many requests as the server says, and none failed."""
    found = report(tmp_path, services, mode, endpoint=endpoint)

    assert found["requests"] == found["status 200"]
    assert 0 == found["failures"]
    assert found["requests"] == 7 or mode == "locust"
    assert 0 < found["p50, ms"] <= found["p95, ms"] <= found["p99, ms"]
    assert 0 < found["mean, ms"]
    assert 0 < found["requests/s"]


@pytest.mark.parametrize(("key", "metrics"), [("", 401), ("search", 403), ("all", 200)])
def test_counts_that_are_not_shown_are_left_out(tmp_path: Path, key: str, metrics: int) -> None:
    """And told so; with a key for them they are there."""
    with answering(FrontWithKeys) as address:
        done = client(tmp_path, address=address, key=key)

    assert 0 == done.returncode, done.stderr
    assert [f"failures {7 if metrics == 401 else 0}"] == [
        " ".join(line.split()) for line in done.stdout.splitlines() if "failures" in line
    ]
    assert ("nothing: it shows /metrics to keys" in done.stdout) == (metrics != 200)
    assert ("status 200            7" in done.stdout) == (metrics == 200)


@pytest.mark.parametrize("mode", MODES)
def test_refused_requests_are_failures(services: Cluster, tmp_path: Path, mode: str) -> None:
    """A text that is none: all fail, and the server counted them as 400."""
    found = report(tmp_path, services, mode, text=" ")

    assert found["requests"] == found["failures"] == found["status 400"] > 0


def test_single_is_the_default_and_paths_start_from_the_file(
    services: Cluster, tmp_path: Path
) -> None:
    """The image's path is relative to the folder of the configuration."""
    (tmp_path / "owl.jpg").write_bytes(OWL.read_bytes())
    settings = {"endpoint": "search image", "image": "owl.jpg"}
    done = client(tmp_path, address=services.front.address, **settings)

    assert 0 == done.returncode, done.stderr
    assert ["requests", "7"] == done.stdout.splitlines()[0].split()


@pytest.mark.parametrize(
    ("route", "mode", "time"), [("search", "single", "T: 2m"), ("classify", "locust", "T: 1s")]
)
def test_yaml_has_the_keys_of_a_loop(
    services: Cluster, tmp_path: Path, route: str, mode: str, time: str
) -> None:
    """The file says the mode, too; a path in it starts from its folder."""
    (tmp_path / "owl.jpg").write_bytes(OWL.read_bytes())
    lines = [f"URL: http://{services.front.address}/v1/{route}", "SOURCE_IMAGE_PATH: owl.jpg"]
    lines += [f"MODE: {mode}", "LOOP_TIMES: 1", "U: 2", "R: 2", time]
    (tmp_path / "client.yaml").write_text("\n".join(lines))
    found = figures(started(tmp_path / "client.yaml"))

    assert found["requests"] == found["status 200"] > 0
    assert (found["requests"] == 1) == (mode == "single")


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("LOOP_TIMES: 0", "$.LOOP_TIMES"),
        ("MODE: 7", "$.MODE"),
        ("T: 5 minutes", "$.T"),
        ("URL: https://here/v2/search", "$.URL"),
        ("LOOPS: 3", "LOOPS"),
        ("U: [", "client.yml"),
    ],
)
def test_what_is_wrong_in_yaml_is_told_in_a_line(tmp_path: Path, line: str, reason: str) -> None:
    """By the file's own keys."""
    good = {"URL": "http://127.0.0.1:1/v1/search", "SOURCE_IMAGE_PATH": "owl.jpg"}
    name = line.partition(":")[0]
    lines = [f"{key}: {value}" for key, value in good.items() if key != name]
    (tmp_path / "client.yml").write_text("\n".join([*lines, line]))
    done = started(tmp_path / "client.yml")

    assert 2 == done.returncode
    assert reason in done.stderr
    assert "Traceback" not in done.stderr


WRONG = {
    "adress": ({"adress": "127.0.0.1:8000"}, "adress"),
    "dead": ({"address": "127.0.0.1:1"}, "does not answer"),
    "image": ({"address": "127.0.0.1:1", "image": "no.jpg", "endpoint": "classify"}, "no.jpg"),
    "no count": ({"address": "127.0.0.1:1", "count": 0}, "count"),
}


@pytest.mark.parametrize(("settings", "reason"), WRONG.values(), ids=WRONG)
def test_what_is_wrong_is_told_in_a_line(
    tmp_path: Path, settings: dict[str, Any], reason: str
) -> None:
    """A configuration, or an address where nothing listens: exit status 2."""
    done = client(tmp_path, **settings)

    assert (2, 1) == (done.returncode, len(done.stderr.splitlines()))
    assert reason in done.stderr


def test_the_file_that_is_there_can_be_used() -> None:
    """`client.json` has the keys of the client, and names an image that is in the samples."""
    settings = msgspec.json.decode((CHECKOUT / "benchmarks/client.json").read_bytes())

    assert {"address", *CLIENT} == set(settings)
    assert (CHECKOUT / "benchmarks" / settings["image"]).is_file()
