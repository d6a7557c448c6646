"""The search by a part of a picture, on the page in a real browser."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from selenium.webdriver import Chrome
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.actions.action_builder import ActionBuilder
from selenium.webdriver.common.actions.interaction import POINTER_TOUCH
from selenium.webdriver.common.actions.pointer_input import PointerInput
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from devtools.services import Cluster
from tests.front.browsing import Browser
from tests.front.pictures import BOTH, CASTLE, OWL

LEFT, RIGHT = ((0.03, 0.03), (0.47, 0.97)), ((0.97, 0.97), (0.53, 0.03))
"""Where a drag begins and ends, in parts of the picture."""
PHONE = {"width": 390, "height": 844, "deviceScaleFactor": 2, "mobile": True}
Drag = tuple[tuple[float, float], tuple[float, float]]


@pytest.fixture
def both(samples: Cluster, tmp_path: Path) -> str:
    """A file to upload: the two, which the index also has."""
    hits = samples.front.get("/v1/search?text=an+owl&k=9")["hits"]
    (image_id,) = (hit["id"] for hit in hits if hit["path"].endswith(BOTH))
    path = tmp_path / "upload.jpg"
    path.write_bytes(samples.front.request("GET", f"/v1/images/{image_id}").data)
    return str(path)


@pytest.fixture
def browser(samples: Cluster, driver: Chrome, tmp_path: Path) -> Iterator[Browser]:
    """A browser that must not complain, and must ask nobody but our server."""
    screenshots = Path(os.environ.get("PAGE_SCREENSHOTS", tmp_path))
    screenshots.mkdir(parents=True, exist_ok=True)
    browser = Browser(driver, f"http://{samples.front.address}", screenshots)
    browser.open("/")
    yield browser
    assert [] == browser.complaints()
    assert [] == browser.strangers()
    driver.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    browser.driver.get("about:blank")  # nothing of this test goes on


def first(browser: Browser) -> str:
    """The name of the best hit."""
    best = "return document.querySelector('#results li').dataset.path"
    return Path(browser.driver.execute_script(best)).name


def drag(
    browser: Browser, frame: str, way: Drag, kind: str = "mouse", *, lets_go: bool = True
) -> None:
    """Draw a rectangle on the picture in a frame, once the picture is there."""
    box = browser.find(f"{frame}[style]").rect  # which has its shape
    scrolled = browser.driver.execute_script("return scrollY")
    actions = ActionBuilder(browser.driver, mouse=PointerInput(kind, kind))  # type: ignore[no-untyped-call]
    pointer: Any = actions.pointer_action
    for number, (x, y) in enumerate(way):
        left, top = box["x"] + x * box["width"], box["y"] - scrolled + y * box["height"]
        pointer.move_to_location(int(left), int(top))
        if number == 0:
            pointer.pointer_down()
    if lets_go:
        pointer.pointer_up()
    actions.perform()


def rectangle(browser: Browser) -> list[float]:
    """The part that is shown on the query's picture, in parts of 1: x, y, width, height."""
    frame = browser.find("#subject:not([hidden]) .frame").rect
    part = browser.find("#subject .part").rect
    return [
        round((part["x"] - frame["x"]) / frame["width"], 1),
        round((part["y"] - frame["y"]) / frame["height"], 1),
        round(part["width"] / frame["width"], 1),
        round(part["height"] / frame["height"], 1),
    ]


def has_part(browser: Browser) -> bool:
    return browser.find("#subject:not([hidden]) .part").is_displayed()


def upload(browser: Browser, path: str) -> None:
    browser.find("#image-input").send_keys(path)
    browser.answered("Images like this one")


def test_a_drag_on_an_upload_searches_by_that_part(browser: Browser, both: str) -> None:
    """The owl, then the castle; the rectangle stays; all of it again; back and forth."""
    upload(browser, both)
    assert not has_part(browser)

    drag(browser, "#subject .frame", LEFT)
    browser.answered("Images like this part")
    assert OWL == first(browser)
    drag(browser, "#subject .frame", RIGHT)
    browser.until(lambda _: first(browser) == CASTLE)
    assert [0.5, 0.0, 0.4, 0.9] == rectangle(browser)
    browser.shoot("region-upload")

    browser.find("#whole").click()
    browser.answered("Images like this one")
    assert BOTH == first(browser)
    assert not has_part(browser)
    browser.driver.back()
    browser.answered("Images like this part")
    assert CASTLE == first(browser)
    assert [0.5, 0.0, 0.4, 0.9] == rectangle(browser)
    browser.driver.back()
    browser.until(lambda _: first(browser) == OWL)


def test_a_drag_on_a_hit_in_the_viewer_can_be_shared(browser: Browser) -> None:
    """It searches by that part; the address holds it, and shows the same in another tab."""
    browser.search("an owl")
    paths = [str(item.get_dom_attribute("data-path")) for item in browser.items()]
    place = next(place for place, path in enumerate(paths) if path.endswith(BOTH))
    browser.items()[place].find_element(By.CSS_SELECTOR, "a.open").click()
    drag(browser, "#viewer[open] .frame", RIGHT, lets_go=False)
    browser.shoot("region-viewer")

    ActionChains(browser.driver).release().perform()

    browser.answered("Images like this part")
    assert CASTLE == first(browser)
    assert not browser.find("#viewer").is_displayed()
    hits, address = browser.hits(), browser.driver.current_url
    browser.open("/")
    browser.driver.get(address)
    browser.answered("Images like this part")
    assert hits == browser.hits()
    assert [0.5, 0.0, 0.4, 0.9] == rectangle(browser)


def test_a_finger_draws_on_a_phone(browser: Browser, both: str) -> None:
    """The picture is as wide as the screen; the page does not scroll meanwhile."""
    browser.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", PHONE)
    upload(browser, both)

    drag(browser, "#subject .frame", RIGHT, POINTER_TOUCH)

    browser.answered("Images like this part")
    assert CASTLE == first(browser)
    assert has_part(browser)
    browser.shoot("region-phone")


def test_keys_draw_a_part(browser: Browser, both: str) -> None:
    """Enter draws it, arrows move it, with Shift they resize it, Escape takes it away."""
    upload(browser, both)
    frame = browser.find("#subject .frame")
    frame.send_keys(Keys.ENTER)
    assert [0.2, 0.2, 0.5, 0.5] == rectangle(browser)
    frame.send_keys(Keys.ESCAPE)
    assert not has_part(browser)

    frame.send_keys(Keys.ENTER, *[Keys.ARROW_RIGHT] * 20, *[Keys.ARROW_UP] * 20)
    frame.send_keys(Keys.SHIFT, *[Keys.ARROW_DOWN] * 20, Keys.SHIFT)
    assert [0.5, 0.0, 0.5, 0.9] == rectangle(browser)
    frame.send_keys(Keys.ENTER)

    browser.answered("Images like this part")
    assert CASTLE == first(browser)
    browser.find("#subject .frame:focus")


def test_a_click_is_no_part(browser: Browser, both: str) -> None:
    """Nor is a line: nothing is searched."""
    upload(browser, both)
    visits = browser.driver.execute_script("return history.length")

    for way in (((0.5, 0.5), (0.5, 0.5)), ((0.1, 0.5), (0.9, 0.5))):
        drag(browser, "#subject .frame", way)

    assert not has_part(browser)
    assert browser.driver.title.startswith("Images like this one")
    assert visits == browser.driver.execute_script("return history.length")
