"""Hostile images sent without pause: others are served as before (kind I, rows 25 and 26)."""

import statistics
import threading
import time
from collections.abc import Iterator
from itertools import cycle
from pathlib import Path

import pytest

from devtools import open_loop
from devtools.memory import resident_bytes
from devtools.services import Cluster, cluster, wait_until
from tests.front.conftest import CONFIG
from tests.front.front_client import upload
from tests.front.pictures import encoded, noise
from tests.hostile_images import HOSTILE, LONG

ATTACKERS = 4
RATE, SECONDS = 30, 6.0
GOOD = encoded(noise(), "JPEG")


@pytest.fixture(scope="module")
def services(root: Path) -> Iterator[Cluster]:
    """All services, with the usual limits."""
    config = {name: keys for name, keys in CONFIG.items() if name != "Front"}
    with cluster(config, 1, root) as running:
        yield running


class Attack:
    """Uploads hostile images from several threads, and keeps what they were answered."""

    def __init__(self, services: Cluster) -> None:
        self.answers: list[tuple[str, int, float]] = []
        self._services = services
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._send) for _ in range(ATTACKERS)]

    def __enter__(self) -> "Attack":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()

    def _send(self) -> None:
        images = [(name, make()) for name, (_, make) in (HOSTILE | LONG).items()]
        for name, image in cycle(images):
            if self._over.is_set():
                return
            began = time.monotonic()
            status = upload(self._services, image).status
            self.answers.append((name, status, time.monotonic() - began))


def ask(services: Cluster, seed: int) -> list[float]:
    """The latencies of text queries that come at their time, in ms; all must be answered."""
    texts = (f"text {seed} {number}" for number in range(10_000))
    due = open_loop.draw(RATE, SECONDS, texts, seed)
    replies = open_loop.send(services.front.address, due, 3, path="/v1/search")
    assert [reply.status for reply in replies if not reply.ok] == []
    return sorted(reply.latency_ms for reply in replies)


def test_hostile_images_harm_nobody_else(services: Cluster) -> None:
    """Texts and good images are answered meanwhile; then memory is what it was."""
    pids = [pid for ids in services.pids.values() for pid in ids]
    assert upload(services, GOOD).status == 200
    quiet = ask(services, 1)
    before = resident_bytes(pids, with_files=False)
    with Attack(services) as attack:
        meanwhile = ask(services, 2)
        good = [upload(services, GOOD).status for _ in range(10)]

    assert set(good) == {200}
    expected = {name: status for name, (status, _) in (HOSTILE | LONG).items()}
    wrong = [found for found in attack.answers if found[1] not in (expected[found[0]], 503)]
    assert wrong == []
    wait_until(lambda: resident_bytes(pids, with_files=False) < 1.5 * before)
    after = resident_bytes(pids, with_files=False)
    slowest = max(took_s for _, _, took_s in attack.answers)
    print(
        f"texts p50, p99 ms: {statistics.median(quiet):.0f}, {quiet[-2]:.0f} alone;"
        f" {statistics.median(meanwhile):.0f}, {meanwhile[-2]:.0f} beside"
        f" {len(attack.answers)} hostile images, of which the slowest took {slowest:.2f} s;"
        f" MiB: {before / 2**20:.0f} before, {after / 2**20:.0f} after"
    )
