from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from selenium.webdriver import Chrome

from devtools import services
from devtools.fork_server import run_forked
from devtools.services import Cluster
from devtools.tiny_model import write_tiny_model
from tests.front import pictures
from tests.front.browsing import Browser, browsing, chrome

MAX_BODY_BYTES = 300_000
CONFIG: dict[str, Any] = {
    "Front": {"max-body-bytes": MAX_BODY_BYTES},
    "Inference": {"clip": "tiny", "mclip": None},
    "Middle": {"deadline-ms": 10_000},  # the first HEIF starts the processes that decode it
    "Prepare": {"images": ["images"]},
    "Search": {"shards": 2},
}


@pytest.fixture(scope="session")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that the cluster's relative paths start from, with images, model and index."""
    folder = tmp_path_factory.mktemp("front")
    write_tiny_model(folder / "tiny")
    pictures.write_collection(folder / "images")
    done = run_forked("prepare/prepare.py", CONFIG, cwd=folder)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="session")
def cluster(root: Path) -> Iterator[Cluster]:
    """All services over the images of `root`."""
    with services.cluster(CONFIG, 1, root) as running:
        yield running


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Some photos, and one of an owl beside a castle."""
    root = tmp_path_factory.mktemp("regions")
    pictures.write_samples(root / "photos")
    config: dict[str, Any] = {"Prepare": {"images": ["photos"]}, "Search": {"shards": 1}}
    done = run_forked("prepare/prepare.py", config, cwd=root)
    assert done.returncode == 0, done.stderr
    with services.cluster(config, 1, root) as running:
        yield running


@pytest.fixture(scope="module")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chrome]:
    """Chromium."""
    with chrome(tmp_path_factory.mktemp("profile")) as running:
        yield running


@pytest.fixture
def both(samples: Cluster, tmp_path: Path) -> str:
    """A file to upload: the two, which the index also has."""
    hits = samples.front.get("/v1/search?text=an+owl&k=9")["hits"]
    (image_id,) = (hit["id"] for hit in hits if hit["path"].endswith(pictures.BOTH))
    path = tmp_path / "upload.jpg"
    path.write_bytes(samples.front.request("GET", f"/v1/images/{image_id}").data)
    return str(path)


@pytest.fixture
def browser(samples: Cluster, driver: Chrome, tmp_path: Path) -> Iterator[Browser]:
    """A browser that must not complain, and must ask nobody but our server."""
    with browsing(driver, samples.front.address, tmp_path) as browser:
        browser.open("/")
        yield browser
        driver.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
