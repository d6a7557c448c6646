"""Browsing on the page in a real browser: newest first, by folder, by day, beside every search."""

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from selenium.webdriver import Chrome
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from devtools.collection import Collection
from devtools.fork_server import run_forked
from devtools.services import Cluster, cluster
from tests.front.browsing import Browser, browsing
from tests.front.narrowing import choose_days, choose_folder, numbers, opened, scroll, shows, told

FOLDERS = ["trips/2023", "trips/2023/alps", "trips/2024", "home"]
IMAGES = 120
FIRST_DAY_S = 1_704_110_400  # 2024-01-01T12:00:00Z; image n is of the nth day after it
PAGE = 48
OBSERVED_LATE = """
window.IntersectionObserver = class extends IntersectionObserver {
  constructor(tell, options) {
    const untold = [];
    super((entries) => {
      if (!untold.length) setTimeout(() => tell(untold.splice(0)), 300);
      untold.push(...entries);
    }, options);
  }
};
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of config.json."""
    return tmp_path_factory.mktemp("browse")


@pytest.fixture(scope="module")
def services(folder: Path) -> Iterator[Cluster]:
    """Images of a day each, in four folders in turn."""
    collection = Collection(folder, 1, 2)
    (folder / "images/0000.png").unlink()
    for number in range(IMAGES):
        write(folder, number)
    collection.prepare()
    with cluster(collection.config, 2, folder) as running:
        yield running


def write(folder: Path, number: int) -> Path:
    """Write the image of a number."""
    path = folder / "images" / FOLDERS[number % len(FOLDERS)] / f"{number:04}.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(number).integers(0, 256, (12, 12, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    os.utime(path, (FIRST_DAY_S + number * 86_400,) * 2)
    return path


@pytest.fixture
def browser(services: Cluster, driver: Chrome, tmp_path: Path) -> Iterator[Browser]:
    """A browser that must not complain, and must ask nobody but our server."""
    with browsing(driver, services.front.address, tmp_path) as browser:
        driver.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
        browser.open("/")
        browser.until(lambda _: numbers(browser))
        yield browser
        driver.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def in_folder(*parts: str) -> list[int]:
    """The images of folders, newest first."""
    return [n for n in reversed(range(IMAGES)) if FOLDERS[n % len(FOLDERS)].startswith(parts)]


def test_the_newest_come_first_and_scrolling_shows_all(browser: Browser) -> None:
    """Page after page, until there is no more."""
    newest = list(reversed(range(IMAGES)))
    browser.find("body[data-view=start]")
    browser.shoot("browse-start")
    assert newest[:PAGE] == numbers(browser)[:PAGE]
    assert "2024-04-29" == browser.items()[0].find_element(By.CSS_SELECTOR, ".score").text

    scroll(browser, IMAGES)
    browser.shoot("browse-end")

    assert newest == numbers(browser)
    assert not browser.find("#further").is_displayed()
    browser.search("red")
    browser.driver.back()
    shows(browser, newest)  # the pages that were loaded are there again


def test_scrolling_goes_on_in_a_browser_that_is_busy(browser: Browser) -> None:
    """It tells late what comes near, of several moments at once: the last one counts."""
    script = {"source": OBSERVED_LATE}
    command = "Page.addScriptToEvaluateOnNewDocument"
    added = browser.driver.execute_cdp_cmd(command, script)
    browser.driver.refresh()
    browser.until(lambda _: numbers(browser))

    scroll(browser, IMAGES)

    browser.driver.execute_cdp_cmd("Page.removeScriptToEvaluateOnNewDocument", added)


def test_a_folder_is_chosen_in_the_tree(browser: Browser) -> None:
    """It has what is in the folders below, too; the address has it, and Back goes back."""
    choose_folder(browser, "images/trips/2023")
    shows(browser, in_folder("trips/2023")[:PAGE])
    assert ["folder: images/trips/2023"] == told(browser, "#filters span")
    browser.until(lambda _: "60 images" == browser.find("#status").text)
    browser.find("#folders summary").click()
    browser.find('.folder[aria-pressed="true"]')
    browser.shoot("browse-folders")
    assert ["images120", "home30", "trips90", "202360", "alps30", "202430"] == told(
        browser, "#tree .folder"
    )

    browser.find('.folder[aria-pressed="true"] + ul .folder').click()
    shows(browser, in_folder("trips/2023/alps"))
    browser.driver.refresh()
    shows(browser, in_folder("trips/2023/alps"))
    browser.driver.back()
    shows(browser, in_folder("trips/2023")[:PAGE])
    browser.find("#filters button").click()
    browser.find("body[data-view=start]")


def test_days_and_folders_go_with_every_way_to_ask(
    browser: Browser, services: Cluster, tmp_path: Path
) -> None:
    """A text, an image, a part of it, an id; and what is asked for can be taken away again."""
    choose_days(browser, "2024-02-01", "2024-02-20")
    shows(browser, list(range(50, 30, -1)))
    choose_folder(browser, "images/home")
    wanted = [n for n in range(50, 30, -1) if n % 4 == 3]
    shows(browser, wanted)
    assert ["2024-02-01 to 2024-02-20", "folder: images/home"] == told(browser, "#filters span")

    browser.search("red")
    assert set(wanted) == set(numbers(browser))
    browser.find("#results li a.open").click()
    browser.find("#viewer[open]")
    browser.find("#viewer-more").click()
    browser.answered("Images like this one")
    assert len(wanted) - 1 == len(numbers(browser))

    hit = services.front.get("/v1/images?limit=1")["images"][0]
    path = tmp_path / "upload.png"
    path.write_bytes(services.front.request("GET", f"/v1/images/{hit['id']}").data)
    browser.find("#image-input").send_keys(str(path))
    browser.until(lambda _: "upload.png" == browser.find("#chip-name").text)
    browser.until(lambda _: set(wanted) == set(numbers(browser)))
    browser.until(lambda _: browser.find("#subject .frame").is_displayed())
    browser.find("#subject .frame").send_keys(Keys.ENTER, Keys.ENTER)
    browser.answered("Images like this part")
    assert set(wanted) == set(numbers(browser))
    browser.shoot("browse-part")

    browser.find("#chip-remove").click()
    shows(browser, wanted)
    browser.find("#filters button").click()
    shows(browser, in_folder("home"))
    browser.find(".brand").click()
    browser.find("body[data-view=start]")
    assert [] == told(browser, "#filters span")


def test_a_day_in_the_viewer_shows_what_else_is_of_it(browser: Browser) -> None:
    """The viewer goes on over the end of a page; one bound alone is a filter, too."""
    choose_days(browser, "2024-01-05", "")
    browser.until(lambda _: ["from 2024-01-05"] == told(browser, "#filters span"))
    browser.until(lambda _: PAGE <= len(numbers(browser)))
    browser.items()[PAGE - 1].find_element(By.CSS_SELECTOR, ".open").click()
    browser.find("#viewer[open]")
    browser.until(lambda _: len(numbers(browser)) > PAGE)
    for number in (IMAGES - PAGE - 1, IMAGES - PAGE - 2):
        ActionChains(browser.driver).send_keys(Keys.ARROW_RIGHT).perform()
        opened(browser, number)
    browser.shoot("browse-viewer")
    browser.find("#viewer-metadata a[title='Only images with this day']").click()
    shows(browser, [IMAGES - PAGE - 2])
    assert ["2024-03-11"] == told(browser, "#filters span")


def test_all_of_it_works_with_keys(browser: Browser) -> None:
    """The menus open and close, and give the focus back; arrows move among the images."""
    summary = browser.find("#folders summary")
    summary.send_keys(Keys.ENTER)
    browser.find("#tree .folder")
    keys = ActionChains(browser.driver)
    keys.send_keys(Keys.TAB, Keys.TAB, Keys.ESCAPE).perform()
    assert summary == browser.driver.switch_to.active_element
    assert not browser.find("#tree").is_displayed()

    browser.find("#dates summary").send_keys(Keys.ENTER)
    browser.find("#first-day").send_keys("01022024", Keys.ENTER)
    browser.until(lambda _: ["from 2024-01-02"] == told(browser, "#filters span"))
    browser.find("#query").send_keys(Keys.ARROW_DOWN)
    ActionChains(browser.driver).send_keys(Keys.ARROW_RIGHT, Keys.ENTER).perform()
    opened(browser, IMAGES - 2)


def test_it_fits_a_phone(browser: Browser) -> None:
    """Nothing is wider than the screen, also with a menu open."""
    metrics = {"width": 360, "height": 740, "deviceScaleFactor": 2, "mobile": True}
    browser.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    browser.driver.refresh()
    browser.until(lambda _: numbers(browser))
    browser.shoot("browse-phone")
    choose_folder(browser, "images/trips/2023/alps")
    shows(browser, in_folder("trips/2023/alps"))
    for menu in ("folders", "dates"):
        browser.find(f"#{menu} summary").click()
        browser.until(lambda driver: driver.find_elements(By.CSS_SELECTOR, "#tree .folder"))
        browser.shoot(f"browse-phone-{menu}")
        script = "return [document.scrollingElement.scrollWidth, innerWidth]"
        width, screen = browser.driver.execute_script(script)
        assert width <= screen


def test_images_that_come_and_go_break_no_page(
    browser: Browser, services: Cluster, folder: Path
) -> None:
    """Those that stay are each shown once, in order; what came at the end is shown as well."""
    before = numbers(browser)
    gone = [before[-1], before[0], 20]
    paths = [write(folder, number) for number in gone]
    for path in paths:
        path.unlink()
    new = write(folder, IMAGES), write(folder, IMAGES + 1)
    run_forked("prepare/prepare.py", services.config, "--accept-loss", cwd=folder)

    scroll(browser, IMAGES - 1)

    after = numbers(browser)
    assert before == after[: len(before)]
    assert [n for n in reversed(range(before[-1])) if n != 20] == after[len(before) :]
    for path in new:
        path.unlink()
    for number in gone:
        write(folder, number)
    run_forked("prepare/prepare.py", services.config, "--accept-loss", cwd=folder)
