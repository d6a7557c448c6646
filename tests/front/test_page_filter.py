"""Filters on the page in a real browser: a value in the viewer narrows the search."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By

from devtools.collection import Collection
from devtools.services import Cluster, cluster
from tests.front.browsing import Browser, browsing
from tests.front.narrowing import told

IMAGES = 12


@pytest.fixture(scope="module")
def albums(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Images of a table: of three, one is in the album "zoo & park"; the others in none."""
    folder = tmp_path_factory.mktemp("albums")
    collection = Collection(folder, IMAGES, 1)
    rows = [f"{n:04}.png,{n % 2},{'' if n % 3 else 'zoo & park'}" for n in range(IMAGES)]
    (folder / "images/table.csv").write_text("\n".join(["path,year,album", *rows]))
    collection.config["Prepare"]["images"] = ["images/table.csv"]
    collection.prepare()
    with cluster(collection.config, 1, folder) as running:
        yield running


@pytest.fixture
def browser(albums: Cluster, driver: Chrome, tmp_path: Path) -> Iterator[Browser]:
    """A browser that must not complain, and must ask nobody but our server."""
    with browsing(driver, albums.front.address, tmp_path) as browser:
        browser.open("/")
        yield browser


def names(browser: Browser) -> set[int]:
    """The numbers of the images on the page."""
    return {int(name.removesuffix(".png")) for name in told(browser, "#results .name")}


def open_hit(browser: Browser, number: int) -> None:
    """Open the image of a number in the viewer."""
    browser.find(f'#results li[data-path="images/{number:04}.png"] .open').click()
    browser.find("#viewer[open]")


def narrow(browser: Browser, value: str) -> None:
    """Click on a value in the viewer, and wait for its chip."""
    browser.driver.find_element(By.LINK_TEXT, value).click()
    browser.until(lambda _: any(value in chip for chip in chips(browser)))


def chips(browser: Browser) -> list[str]:
    """What the chips say."""
    return told(browser, "#filters button span")


def test_values_narrow_a_search_and_chips_widen_it(browser: Browser) -> None:
    """One after the other; the address has them, and Back goes back."""
    browser.search("red")
    assert set(range(IMAGES)) == names(browser)

    open_hit(browser, 3)
    browser.shoot("filter-viewer")
    narrow(browser, "zoo & park")
    assert {0, 3, 6, 9} == names(browser)

    open_hit(browser, 3)
    narrow(browser, "1")
    browser.shoot("filter-chips")
    assert ["album: zoo & park", "year: 1"] == chips(browser)
    assert {3, 9} == names(browser)

    browser.driver.refresh()
    browser.until(lambda _: len(chips(browser)) == 2)
    assert {3, 9} == names(browser)

    browser.find("#filters button").click()
    browser.until(lambda _: ["year: 1"] == chips(browser))
    assert {1, 3, 5, 7, 9, 11} == names(browser)
    browser.driver.back()
    browser.until(lambda _: len(chips(browser)) == 2)
    assert {3, 9} == names(browser)


def test_a_filter_stays_for_the_next_search_and_for_an_upload(
    browser: Browser, tmp_path: Path, albums: Cluster
) -> None:
    """As it says what is looked through, not what for."""
    browser.search("red")
    open_hit(browser, 0)
    narrow(browser, "zoo & park")
    browser.search("blue")
    assert {0, 3, 6, 9} == names(browser)

    hit = albums.front.get("/v1/search?text=red&k=1")["hits"][0]
    path = tmp_path / "upload.png"
    path.write_bytes(albums.front.request("GET", f"/v1/images/{hit['id']}").data)
    browser.find("#image-input").send_keys(str(path))
    browser.shows("like this one")
    assert {0, 3, 6, 9} == names(browser)
    open_hit(browser, 9)
    narrow(browser, "1")
    browser.shows("like this one")
    assert {3, 9} == names(browser)


def test_an_address_with_a_filter_of_its_own_is_shown_as_it_is(browser: Browser) -> None:
    """A range has a chip, too; what the server refuses can be taken away."""
    browser.open('/?text=red&filter={"field":"year","lt":1}')
    browser.until(lambda _: chips(browser))
    assert ['{"field":"year","lt":1}'] == chips(browser)
    assert {0, 2, 4, 6, 8, 10} == names(browser)

    browser.open('/?text=red&filter={"field":"month","eq":1}')
    browser.shows("no image has a field 'month'")
    browser.find("#filters button").click()
    browser.until(lambda _: names(browser) == set(range(IMAGES)))
    browser.complaints()  # Chromium notes the 400


@pytest.mark.parametrize("filter_", ['{"and":"abc"}', '{"and":[null,null]}', '{"and":{"a":1}}'])
def test_an_address_with_what_is_no_filter_tells_what_the_server_says(
    browser: Browser, filter_: str
) -> None:
    """With a chip to take it away."""
    browser.open(f"/?filter={filter_}")
    browser.find("body[data-view=error]")
    assert browser.find("#status").text
    assert [filter_] == chips(browser)

    browser.find("#filters button").click()
    browser.find("body[data-view=start]")
    (complaint,) = browser.complaints()
    assert "400" in complaint
