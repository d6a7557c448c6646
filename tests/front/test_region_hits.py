"""Images that are indexed with regions: found once, by their best part, counted as images."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By

from devtools.collection import Collection
from devtools.services import Cluster, cluster, wait_until
from tests.front.browsing import browsing
from tests.front.front_client import ask

IMAGES = 12
CORNER = [0.0, 0.5, 0.5, 1.0]


@pytest.fixture(scope="module")
def services(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """All services over twelve images with a grid of regions each, in two shards."""
    collection = Collection(
        tmp_path_factory.mktemp("regions"), images=IMAGES, shards=2, regions="grid"
    )
    with cluster(collection.config, 1, collection.folder) as running:
        yield running


def test_a_part_finds_its_image_once_with_the_region(services: Cluster) -> None:
    """And a whole image is found whole."""
    hits = ask(services, text="red", k=IMAGES).json()["hits"]
    assert IMAGES == len({hit["id"] for hit in hits}) == len(hits)
    some = hits[0]["id"]
    file = services.front.request("GET", f"/v1/images/{some}").data

    part = ask(services, image=file, region=CORNER, k=IMAGES).json()["hits"]
    whole = ask(services, image=file).json()["hits"][0]

    assert (some, CORNER) == (part[0]["id"], part[0]["region"])
    assert part[0]["score"] == pytest.approx(1, abs=1e-4)
    assert IMAGES == len({hit["id"] for hit in part})
    assert some == whole["id"]
    assert "region" not in whole


def test_the_page_shows_the_part(services: Cluster, driver: Chrome, tmp_path: Path) -> None:
    """On the picture in the viewer; a hit that is found whole has none."""
    hits = ask(services, text="red", k=IMAGES).json()["hits"]
    with browsing(driver, services.front.address, tmp_path) as browser:
        browser.open("/?text=red")
        browser.answered("red")
        for has_part in (True, False):
            place = [("region" in hit) for hit in hits].index(has_part)
            item = browser.items()[place]
            assert ("a part" in item.text) == has_part
            item.find_element(By.CSS_SELECTOR, "a.open").click()
            part = browser.find("#viewer[open] .frame[style] .part")
            assert part.is_displayed() == has_part
            if has_part:
                left, top, *_ = (f"{100 * number:g}%" for number in hits[place]["region"])
                assert (left, top) == tuple(
                    browser.driver.execute_script(
                        "return [arguments[0].style.left, arguments[0].style.top]", part
                    )
                )
                browser.shoot("region-hit")
            browser.find("#viewer button[aria-label=Close]").click()


def test_counts_are_of_images(services: Cluster) -> None:
    """And an image is told to be deleted with all its regions."""
    assert IMAGES == services.front.get("/v1/info")["images"]
    (some, *_) = ask(services, text="red").json()["hits"]
    file = services.front.request("GET", f"/v1/images/{some['id']}").data

    def found() -> list[str]:
        return [hit["id"] for hit in ask(services, image=file, region=CORNER).json()["hits"]]

    assert some["id"] in found()
    assert 200 == services.front.request("DELETE", f"/v1/images/{some['id']}").status
    wait_until(lambda: some["id"] not in found())
    assert IMAGES - 1 == len(ask(services, text="red", k=IMAGES).json()["hits"])
