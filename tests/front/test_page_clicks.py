"""What the page does with clicks meanwhile, and with answers that are late or lack something."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement

from devtools.services import Cluster
from tests.front.browsing import Browser, browsing

CHANGED = r"""
const [address, change, isWhole] = arguments;
const send = window.fetch;
window.fetch = async (url, init) => {
  if (!new RegExp(address).test(url)) return send(url, init);
  const answer = isWhole ? {} : await (await send(url, init)).json();
  return Response.json({ ...answer, ...change });
};
"""
"""Changes the answers to addresses of a pattern, or gives the whole answer."""
DEGRADED = {"degraded": True, "fraction": 0.5, "shards": {"total": 2, "ok": 1}}
LAST: dict[str, Any] = {"images": [], "coverage": DEGRADED, "next": None}


@pytest.fixture
def browser(cluster: Cluster, driver: Chrome, tmp_path: Path) -> Iterator[Browser]:
    """A browser that must not complain, and must ask nobody but our server."""
    with browsing(driver, cluster.front.address, tmp_path) as browser:
        yield browser


def test_options_and_words_go_with_what_is_clicked(browser: Browser) -> None:
    """Though neither was searched for yet."""
    browser.open("/")
    browser.until(lambda _: browser.items())
    browser.find("#options summary").click()
    browser.find("select[name=k] option:first-child").click()
    browser.items()[0].find_element(By.CSS_SELECTOR, ".more").click()
    browser.answered("Images like this one")
    assert "k=12" in browser.driver.current_url

    browser.find("#query").send_keys("mountains")
    browser.find("#options summary").click()
    browser.find("select[name=k] option:nth-child(2)").click()
    browser.answered("mountains")
    browser.find("#query").clear()
    browser.find("#query").send_keys("a cat")
    browser.find("#dates summary").click()
    browser.find("#date-form button").click()
    browser.answered("a cat")


def test_an_answer_that_comes_late_closes_the_viewer(browser: Browser) -> None:
    """Else it would show a picture that is no hit, and keys would mean another one."""
    browser.open("/?text=mountains")
    browser.answered("mountains")
    browser.driver.execute_script(
        "const send = fetch; const come = new Promise((now) => { window.letCome = now; });"
        "window.fetch = (...args) => come.then(() => send(...args));"
    )
    browser.find("#query").clear()
    browser.find("#query").send_keys("a cat")
    browser.find("#search").click()
    browser.find("#results li a.open").click()
    browser.find("#viewer[open]")
    browser.driver.execute_script("letCome()")
    browser.answered("a cat")

    assert not browser.find("#viewer").is_displayed()


def test_a_page_without_all_shards_is_told(browser: Browser) -> None:
    """Also when it was not the first, and again after Back."""
    browser.open("/")
    browser.until(lambda _: browser.items())
    browser.driver.execute_script(CHANGED, "limit=", {"next": "x"})
    browser.driver.execute_script(CHANGED, "cursor=x", LAST, True)
    browser.find(".brand").click()
    more = "document.querySelector('#further').click()"  # scrolling may have done so already
    browser.until(lambda driver: driver.execute_script(more) or browser.find("#banner").text)
    browser.shows("Answers from 1 of 2 shards.")
    browser.search("red")
    browser.until(lambda _: not browser.find("#banner").text)
    browser.driver.back()
    browser.shows("Answers from 1 of 2 shards.")


def test_a_chosen_folder_lists_all_in_it(browser: Browser) -> None:
    """Others with more images had left no place for these."""
    few = {"facets": {"folder": {"values": [{"value": "other/home", "count": 30}], "more": 1}}}
    browser.open("/")
    browser.driver.execute_script(CHANGED, "field=folder$", few)
    browser.find("#folders summary").click()
    browser.shows("Neither listed nor counted: 1 folder with fewer images.")
    chosen = {"or": [{"field": "folder", "eq": "images"}, {"field": "folder", "prefix": "images/"}]}
    browser.open("/?filter=" + json.dumps(chosen, separators=(",", ":")))
    browser.driver.execute_script(CHANGED, "field=folder$", few)
    browser.find("#folders summary").click()
    browser.find('#tree .folder[aria-pressed="true"]')
    assert ["images", "other"] == [name.text for name in tops(browser)]
    assert not browser.find("#tree-note").text


def tops(browser: Browser) -> list[WebElement]:
    """The folders at the top of the tree."""
    return browser.driver.find_elements(By.CSS_SELECTOR, "#tree > li > .folder bdi")
