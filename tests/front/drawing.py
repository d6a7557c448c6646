"""Drawing on the pictures of the page, and what it then shows."""

from pathlib import Path
from typing import Any

from selenium.webdriver.common.actions.action_builder import ActionBuilder
from selenium.webdriver.common.actions.pointer_input import PointerInput

from tests.front.browsing import Browser

PHONE = {"width": 390, "height": 844, "deviceScaleFactor": 2, "mobile": True}
Drag = tuple[tuple[float, float], tuple[float, float]]


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
    """Whether a part is shown on the query's picture."""
    return browser.find("#subject:not([hidden]) .part").is_displayed()


def upload(browser: Browser, path: str) -> None:
    """Search by a file."""
    browser.find("#image-input").send_keys(path)
    browser.answered("Images like this one")
