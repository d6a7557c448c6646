"""The search by a part of a picture, on the page in a real browser."""

from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.actions.interaction import POINTER_TOUCH
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from tests.front.browsing import Browser
from tests.front.drawing import PHONE, drag, first, has_part, rectangle, upload
from tests.front.pictures import BOTH, CASTLE, OWL

LEFT, RIGHT = ((0.03, 0.03), (0.47, 0.97)), ((0.97, 0.97), (0.53, 0.03))
"""Where a drag begins and ends, in parts of the picture."""


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


def test_a_line_is_no_part(browser: Browser, both: str) -> None:
    """Nothing is searched."""
    upload(browser, both)
    visits = browser.driver.execute_script("return history.length")

    drag(browser, "#subject .frame", ((0.1, 0.5), (0.9, 0.5)))

    assert not has_part(browser)
    assert browser.driver.title.startswith("Images like this one")
    assert visits == browser.driver.execute_script("return history.length")
