"""The page of a server with keys, in a real browser."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from selenium.webdriver import Chrome
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from devtools.collection import Collection
from devtools.services import Service, cluster, run_command, with_section
from tests.front.browsing import Browser

HELD = """
    const [held] = arguments;
    const send = fetch;
    window.fetch = async (url, init) => {
        const response = await send(url, init);
        if (url !== held || window.letCome) return response;
        const file = await response.blob();
        response.blob = () => new Promise((come) => { window.letCome = () => come(file); });
        return response;
    };
"""
"""Has the next file of an address wait for letCome()."""
COMES = "letCome(); setTimeout(arguments[0]);"
"""Ends when the page has taken the file."""


@pytest.fixture(scope="module")
def collection(tmp_path_factory: pytest.TempPathFactory) -> Collection:
    """Some images, and a configuration with a file of keys."""
    collection = Collection(tmp_path_factory.mktemp("keyed"), images=12, shards=1)
    collection.config = with_section(collection.config, "Front", keys_file="keys.json")
    return collection


@pytest.fixture(scope="module")
def key(collection: Collection) -> str:
    """A key for the page."""
    scopes = ("--scope", "search", "--scope", "images")
    done = run_command("front/keys.py", collection.config, "page", *scopes, cwd=collection.folder)
    assert 0 == done.returncode, done.stderr
    return done.stdout.strip()


@pytest.fixture(scope="module")
def guarded(collection: Collection, key: str) -> Iterator[Service]:
    """The front with keys."""
    assert key
    with cluster(collection.config, 1, collection.folder) as services:
        yield services.front


@pytest.fixture
def browser(guarded: Service, driver: Chrome, tmp_path: Path) -> Iterator[Browser]:
    """A tab that knows no key, which must ask nobody but our server."""
    screenshots = Path(os.environ.get("PAGE_SCREENSHOTS", tmp_path))
    browser = Browser(driver, f"http://{guarded.address}", screenshots)
    browser.open("/")
    driver.execute_script("sessionStorage.clear()")
    yield browser
    assert [] == browser.strangers()
    refused = "status of 401", "status of 403"
    assert [] == [text for text in browser.complaints() if not any(it in text for it in refused)]
    driver.get("about:blank")


def give(browser: Browser, key: str) -> None:
    browser.find("body[data-view=key] #key").send_keys(key)
    browser.find("#key-form button").click()


def test_the_page_asks_for_a_key_and_goes_on_with_it(browser: Browser, key: str) -> None:
    """A shared address asks for the key, then shows its answer with every picture."""
    browser.open("/?text=a+red+square")
    assert "This server asks for a key." in browser.find("body[data-view=key] #status").text
    browser.shoot("key")

    give(browser, key)

    browser.answered("a red square")
    assert browser.hits()
    picture = browser.items()[0].find_element(By.CSS_SELECTOR, "img")
    assert str(picture.get_property("src")).startswith("blob:")
    browser.open("/")
    browser.until(lambda _: "images" in browser.find("#collection").text)


def test_a_wrong_key_is_told_and_asked_for_again(browser: Browser, key: str) -> None:
    """From the start page; the right one then leads on, and stays for the tab alone."""
    browser.open("/")
    give(browser, "wrong")
    browser.shows("The server does not know this key.")
    give(browser, key)
    browser.until(lambda _: "images" in browser.find("#collection").text)
    browser.search("blue")
    first = browser.hits()[0]
    browser.find("#results li a.open").click()
    image = browser.find("#viewer[open] #viewer-image img")
    browser.until(lambda _: image.get_property("naturalWidth"))
    original = browser.find("#viewer-original")
    browser.until(lambda _: str(original.get_dom_attribute("href")).startswith("blob:"))
    browser.find("#viewer-more").click()
    browser.answered("Images like this one")
    assert first not in browser.hits()
    chip = browser.find("#chip-image")
    browser.until(lambda _: chip.get_property("naturalWidth"))
    browser.driver.switch_to.new_window("tab")
    browser.open("/")
    browser.find("body[data-view=key] #key")
    browser.driver.close()
    browser.driver.switch_to.window(browser.driver.window_handles[0])


def test_a_key_that_may_not_search_is_told_and_another_asked_for(
    browser: Browser, key: str, collection: Collection
) -> None:
    """It would be asked with for ever."""
    done = run_command(
        "front/keys.py", collection.config, "files", "--scope", "images", cwd=collection.folder
    )
    browser.open("/")
    give(browser, done.stdout.strip())
    browser.shows("search")
    browser.until(lambda _: "not good for" in browser.find("body[data-view=key] #status").text)
    give(browser, key)
    browser.until(lambda _: "images" in browser.find("#collection").text)


def test_a_file_that_comes_late_is_not_that_of_the_next_picture(browser: Browser, key: str) -> None:
    """In the viewer, "Open the file" leads to the picture that is shown."""
    browser.open("/")
    give(browser, key)
    browser.search("blue")
    browser.driver.execute_script(HELD, f"/v1/images/{browser.hits()[0]}")
    browser.find("#results li a.open").click()
    browser.until(lambda driver: driver.execute_script("return 'letCome' in window"))
    ActionChains(browser.driver).send_keys(Keys.ARROW_RIGHT).perform()
    link = browser.find("#viewer-original")
    browser.until(lambda _: str(link.get_dom_attribute("href")).startswith("blob:"))
    shown = link.get_dom_attribute("href")
    browser.shoot("key-viewer")

    browser.driver.execute_async_script(COMES)

    assert shown == link.get_dom_attribute("href")


@pytest.mark.parametrize("is_upload", [False, True])
def test_a_thumbnail_that_comes_late_is_not_that_of_the_next_query(
    browser: Browser, key: str, collection: Collection, is_upload: bool
) -> None:
    """Beside the words, the picture is the one that was searched for last."""
    browser.open("/")
    give(browser, key)
    browser.search("blue")
    browser.driver.execute_script(HELD, f"/v1/images/{browser.hits()[0]}/thumbnail")
    browser.find("#results li a.open").send_keys("m")
    browser.until(lambda driver: driver.execute_script("return 'letCome' in window"))
    browser.answered("Images like this one")
    if is_upload:
        browser.find("#image-input").send_keys(str(collection.folder / "images/0001.png"))
    else:
        browser.find("#results li a.open").send_keys("m")
    chip = browser.find("#chip-image")
    browser.until(lambda _: str(chip.get_dom_attribute("src")).startswith("blob:"))
    shown = chip.get_dom_attribute("src")

    browser.driver.execute_async_script(COMES)

    assert shown == chip.get_dom_attribute("src")
