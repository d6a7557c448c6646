"""A: images whose folder is away are found, and marked: in the hits and on the page."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By

from devtools import services
from devtools.collection import Collection
from devtools.fork_server import run_forked
from devtools.services import Cluster
from tests.front.browsing import Browser
from tests.front.front_client import ask


@pytest.fixture(scope="module")
def half(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Two folders of four images, of which one was away at the last run."""
    made = Collection(tmp_path_factory.mktemp("offline"), images=4, shards=2)
    shutil.move(made.folder / "images", made.folder / "away")
    made.write_images(range(4, 8))
    shutil.move(made.folder / "images", made.folder / "more")
    shutil.move(made.folder / "away", made.folder / "images")
    assert run_forked("prepare/prepare.py", made.config, "more", cwd=made.folder).returncode == 0
    shutil.rmtree(made.folder / "more")
    assert run_forked("prepare/prepare.py", made.config, cwd=made.folder).returncode == 3
    with services.cluster(made.config, 1, made.folder) as running:
        yield running


def test_a_hit_tells_that_its_file_was_absent(half: Cluster) -> None:
    """Always: true or false; its file is 410, and a search for more like it is answered."""
    hits = ask(half, text="red square").json()["hits"]

    assert {hit["path"].startswith("more/"): hit["offline"] for hit in hits} == {0: False, 1: True}
    assert len(hits) == 8
    absent = next(hit["id"] for hit in hits if hit["offline"])
    assert half.front.request("GET", f"/v1/images/{absent}").status == 410
    assert len(ask(half, id=absent).json()["hits"]) == 7


def test_the_page_marks_it(half: Cluster, driver: Chrome, tmp_path: Path) -> None:
    """At the hit, and with what it means in the viewer."""
    screenshots = Path(os.environ.get("PAGE_SCREENSHOTS", tmp_path))
    browser = Browser(driver, f"http://{half.front.address}", screenshots)
    browser.open("/?text=red+square")
    browser.find("body[data-view=answer] #results[aria-busy=false]")
    marked = [item for item in browser.items() if item.find_elements(By.CSS_SELECTOR, "small")]
    paths = [str(item.get_dom_attribute("data-path")) for item in marked]

    assert [True] * 4 == [path.startswith("more/") for path in paths]
    browser.shoot("offline")
    marked[0].find_element(By.CSS_SELECTOR, "a.open").click()
    browser.find("#viewer[open]")
    assert "absent" in browser.find("#viewer-metadata").text
    driver.get("about:blank")
