"""The search by what is clicked on, on the page in a real browser."""

import pytest
from selenium.webdriver.common.actions.interaction import POINTER_TOUCH
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from tests.front.browsing import Browser
from tests.front.drawing import PHONE, drag, first, rectangle, upload
from tests.front.pictures import BOTH, CASTLE, OWL

SLOW = """
    const send = fetch;
    window.fetch = (url, init) => {
        const soon = url === '/v1/segment' ? { 'X-Deadline-Ms': '1' } : {};
        return send(url, { ...init, headers: { ...init?.headers, ...soon } });
    };
"""
"""Has the page ask for segments with no time for them."""
NONE = """
    const send = fetch;
    window.fetch = async (url, init) =>
        url === '/v1/segment' ? new Response('{}', { status: 501 }) : send(url, init);
"""
"""What a server answers that has no way to find segments."""
HELD = """
    const send = fetch;
    const { decode } = Image.prototype;
    const held = new Promise((go) => { window.letGo = go; });
    window.outlined = new Promise((go) => {
        Image.prototype.decode = async function () {
            await held;
            await decode.call(this);
            setTimeout(go);
        };
    });
    window.fetch = async (url, init) => {
        if (url === '/v1/search') await outlined;
        return send(url, init);
    };
"""
"""Has the outline of a click wait for letGo(), and the next search for that outline."""
OUTLINED = "letGo(); outlined.then(arguments[0]);"
"""Ends when the page has the outline."""


@pytest.mark.parametrize(("place", "name"), [((0.25, 0.5), OWL), ((0.75, 0.5), CASTLE)])
def test_a_click_searches_by_what_is_there(
    browser: Browser, both: str, place: tuple[float, float], name: str
) -> None:
    """Its outline is on the picture, with the box; back leads to all of it, forward again here."""
    upload(browser, both)
    drag(browser, "#subject .frame", (place, place))

    browser.answered("Images like this part")
    assert name == first(browser)
    browser.find("#subject:not([hidden]) .outline")
    assert "Outlined by GrabCut" in browser.find("#subject").text
    left, _, width, _ = rectangle(browser)
    assert left <= place[0] <= left + width
    browser.shoot(f"segment-{name.removesuffix('.jpg')}")
    browser.driver.back()
    browser.answered("Images like this one")
    assert not browser.driver.find_elements(By.CSS_SELECTOR, ".outline")
    assert "Outlined" not in browser.find("#subject").text
    browser.driver.forward()
    browser.answered("Images like this part")
    browser.find("#subject:not([hidden]) .outline")
    browser.find("#whole").click()
    browser.answered("Images like this one")
    assert not browser.driver.find_elements(By.CSS_SELECTOR, ".outline")


def test_a_tap_on_a_hit_in_the_viewer_outlines_it_on_a_phone(browser: Browser) -> None:
    """The outline is drawn before the answer comes; the address keeps the box."""
    browser.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", PHONE)
    browser.search("an owl")
    paths = [str(item.get_dom_attribute("data-path")) for item in browser.items()]
    place = next(place for place, path in enumerate(paths) if path.endswith(BOTH))
    browser.items()[place].find_element(By.CSS_SELECTOR, "a.open").click()
    browser.find("#viewer[open] .frame[style]")
    browser.shoot("segment-viewer-phone")
    drag(browser, "#viewer[open] .frame", ((0.75, 0.5), (0.75, 0.5)), POINTER_TOUCH)

    browser.answered("Images like this part")
    assert CASTLE == first(browser)
    assert not browser.find("#viewer").is_displayed()
    assert "region=" in browser.driver.current_url
    browser.find("#subject:not([hidden]) .outline")
    browser.shoot("segment-phone")


def test_what_finds_no_segment_is_told_on_the_picture(browser: Browser, both: str) -> None:
    """Here a server that is too slow; a drag still searches."""
    upload(browser, both)
    browser.driver.execute_script(SLOW)
    drag(browser, "#subject .frame", ((0.25, 0.5), (0.25, 0.5)))
    browser.until(lambda _: "Try again in 1 second." in browser.find("#subject .note").text)
    browser.shoot("segment-refused")
    drag(browser, "#subject .frame", ((0.97, 0.97), (0.53, 0.03)))

    browser.answered("Images like this part")
    assert CASTLE == first(browser)
    errors = browser.complaints()
    assert len(errors) == 1
    assert "/v1/segment" in errors[0]


def test_a_server_that_finds_no_segments_is_told_on_the_picture(
    browser: Browser, both: str
) -> None:
    """With what to do instead."""
    upload(browser, both)
    browser.driver.execute_script(NONE)
    drag(browser, "#subject .frame", ((0.25, 0.5), (0.25, 0.5)))
    browser.until(lambda _: "neither" in browser.find("#subject .note").text)
    assert "Drag to search by a part." in browser.find("#subject .note").text


def test_a_click_in_the_viewer_ends_with_it(browser: Browser) -> None:
    """What is found after the viewer was closed is not searched by."""
    browser.search("an owl")
    browser.find("#results li a.open").click()
    browser.driver.execute_script(HELD)
    drag(browser, "#viewer[open] .frame", ((0.5, 0.5), (0.5, 0.5)))
    browser.until(lambda _: "Looking" in browser.find("#viewer .note").text)
    browser.shoot("segment-looking")
    browser.find("#viewer .frame").send_keys(Keys.ESCAPE)
    browser.until(lambda _: not browser.find("#viewer").is_displayed())
    address = browser.driver.current_url

    browser.driver.execute_async_script(OUTLINED)

    assert address == browser.driver.current_url


def test_a_newer_search_outlasts_a_click(browser: Browser, both: str) -> None:
    """What is found at a click, while words are searched for, is not searched by."""
    upload(browser, both)
    browser.driver.execute_script(HELD)
    drag(browser, "#subject .frame", ((0.25, 0.5), (0.25, 0.5)))
    browser.until(lambda _: "Looking" in browser.find("#subject .note").text)
    browser.find("#query").send_keys("a koala", Keys.ENTER)

    browser.driver.execute_async_script(OUTLINED)

    browser.answered("a koala")
