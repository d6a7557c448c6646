"""What somebody does who browses on the page, and what they then see."""

from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By

from tests.front.browsing import Browser


def numbers(browser: Browser) -> list[int]:
    """The numbers of the images on the page, in order."""
    return [int(name.removesuffix(".png")) for name in told(browser, "#results .name")]


def told(browser: Browser, css: str) -> list[str]:
    """The texts of some elements, all at one moment."""
    script = "return [...document.querySelectorAll(arguments[0])].map((one) => one.textContent)"
    texts: list[str] = browser.driver.execute_script(script, css)
    return texts


def shows(browser: Browser, expected: list[int]) -> None:
    """Wait until the page has just these images, in this order."""
    browser.until(lambda _: numbers(browser) == expected)


def scroll(browser: Browser, count: int) -> None:
    """Scroll to the end until the page has so many images."""

    def reached(driver: Chrome) -> bool:
        driver.execute_script("scrollTo(0, document.body.scrollHeight)")
        return len(numbers(browser)) >= count

    browser.until(reached)


def choose_folder(browser: Browser, path: str) -> None:
    """Open the tree, unfold what leads to a folder, and choose it."""
    browser.find("#folders summary").click()
    *above, name = path.split("/")
    for depth in range(1, len(above) + 1):
        fold = browser.find(f'.fold[aria-label="Folders in {"/".join(above[:depth])}"]')
        if fold.get_attribute("ariaExpanded") == "false":
            fold.click()
    xpath = f"//ul[@id='tree']//button[contains(@class, 'folder')][bdi='{name}']"
    browser.driver.find_element(By.XPATH, xpath).click()


def choose_days(browser: Browser, first: str, last: str) -> None:
    """Give days, or only one of the two, and send them."""
    browser.find("#dates summary").click()
    script = "arguments[0].value = arguments[1]"
    for css, day in (("#first-day", first), ("#last-day", last)):
        browser.driver.execute_script(script, browser.find(css), day)
    browser.find("#date-form button").click()


def opened(browser: Browser, number: int) -> None:
    """Wait until the viewer has the image of a number."""
    browser.until(lambda _: f"{number:04}.png" in browser.find("#viewer-path").text)
