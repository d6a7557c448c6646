"""A headless Chromium that looks at the page, and what it did while it looked."""

import json
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from selenium.webdriver import Chrome, ChromeOptions
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.wait import WebDriverWait

from devtools.ports import free_ports

WAIT_S = 20
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--window-size=1280,900",
)


@contextmanager
def chrome(profile: Path) -> Iterator[Chrome]:
    """Run Chromium with a fresh profile; where there is none skip, or fail under CI=true."""
    programs = [shutil.which(name) for name in ("chromium", "chromedriver")]
    if None in programs:
        absent = pytest.fail if os.environ.get("CI") == "true" else pytest.skip
        absent("chromium and chromedriver are not installed (packages chromium, chromium-driver)")
    options = ChromeOptions()
    options.binary_location = str(programs[0])
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    for flag in (*FLAGS, f"--user-data-dir={profile}"):
        options.add_argument(flag)
    driver = Chrome(options, Service(programs[1], port=free_ports(1)[0]))
    try:
        yield driver
    finally:
        driver.quit()


class Browser:
    """The search page in a browser."""

    def __init__(self, driver: Chrome, server: str, screenshots: Path) -> None:
        self.driver = driver
        self._server = server
        self._screenshots = screenshots

    def open(self, path: str) -> None:
        """Go to a path of the server."""
        self.driver.get(f"{self._server}{path}")

    def find(self, css: str) -> WebElement:
        """The element of a selector, as soon as it is there."""
        found: WebElement = self.until(lambda driver: driver.find_element(By.CSS_SELECTOR, css))
        return found

    def shows(self, text: str) -> None:
        """Wait until a text stands on the page."""
        self.until(lambda driver: text in driver.find_element(By.TAG_NAME, "body").text)

    def until(self, is_so: Callable[[Chrome], Any]) -> Any:
        """Wait until something is so."""
        return WebDriverWait(self.driver, WAIT_S, 0.05).until(is_so)

    def search(self, text: str) -> None:
        """Type a text, search for it, and wait for the answer."""
        self.find("#query").clear()
        self.find("#query").send_keys(text)
        self.find("#search").click()
        self.answered(text)

    def answered(self, title: str) -> None:
        """Wait for the answer whose title begins so, and for its first pictures."""
        self.until(lambda driver: driver.title.startswith(title))
        self.find("body[data-view=answer] #results[aria-busy=false]")
        self.until(lambda driver: driver.execute_script(ALL_LOADED))

    def hits(self) -> list[str]:
        """The ids of the hits, in order."""
        return [item.get_dom_attribute("data-id") for item in self.items()]

    def items(self) -> Sequence[WebElement]:
        """The hits that are shown."""
        found: Sequence[WebElement] = self.driver.find_elements(By.CSS_SELECTOR, "#results li")
        return found

    def shoot(self, name: str) -> None:
        """Keep a screenshot."""
        assert self.driver.save_screenshot(self._screenshots / f"{name}.png")

    def complaints(self) -> list[str]:
        """What the console has shown as an error or a warning since it was last asked."""
        levels = ("SEVERE", "WARNING")
        return [one["message"] for one in self._log("browser") if one["level"] in levels]

    def strangers(self) -> list[str]:
        """The addresses outside of the server that were asked since this was last asked."""
        events = [json.loads(one["message"])["message"] for one in self._log("performance")]
        sent = _of(events, "Network.requestWillBeSent")
        blocked = {
            one["requestId"] for one in _of(events, "Network.loadingFailed") if _is_blocked(one)
        }
        addresses = [one["request"]["url"] for one in sent if one["requestId"] not in blocked]
        ours = (f"{self._server}/", "data:", f"blob:{self._server}/", "chrome:", "about:")
        return [address for address in addresses if not address.startswith(ours)]

    def _log(self, kind: str) -> list[dict[str, Any]]:
        entries: list[dict[str, Any]] = self.driver.get_log(kind)  # type: ignore[no-untyped-call]
        return entries


@contextmanager
def browsing(driver: Chrome, address: str, tmp_path: Path) -> Iterator[Browser]:
    """A browser that must not complain, and must ask nobody but the server at `address`."""
    screenshots = Path(os.environ.get("PAGE_SCREENSHOTS", tmp_path))
    screenshots.mkdir(parents=True, exist_ok=True)
    browser = Browser(driver, f"http://{address}", screenshots)
    yield browser
    assert [] == browser.complaints()
    assert [] == browser.strangers()
    driver.get("about:blank")  # nothing of this test goes on


def _of(events: list[dict[str, Any]], method: str) -> list[dict[str, Any]]:
    return [event["params"] for event in events if event["method"] == method]


def _is_blocked(failure: dict[str, Any]) -> bool:
    """Whether a request was not sent, because the page's policy forbids it."""
    return failure.get("blockedReason") == "csp"


ALL_LOADED = """
    const inView = ({top}) => top < innerHeight;
    const shown = [...document.querySelectorAll('.open img')];
    return shown.filter((image) => inView(image.getBoundingClientRect()))
                .every((image) => image.complete && image.naturalWidth > 0);
"""
