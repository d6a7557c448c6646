"""The page of the API in a real browser: what it offers to try works."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from selenium.webdriver import Chrome
from selenium.webdriver.support.select import Select

from devtools.fork_server import run_forked
from devtools.services import CHECKOUT, Cluster, cluster
from front.openapi.document import document
from front.openapi.parts import FORM
from tests.front.browsing import Browser

OPERATIONS = [
    f"{operation['tags'][0]}-{operation['operationId']}"
    for methods in document(has_keys=False)["paths"].values()
    for operation in methods.values()
    if operation["operationId"] != "purge"
]
"""As Swagger UI names them; all but the one that needs a key."""
OF_SWAGGER = '"Could not find component:" "JsonSchema_string_binary"'
"""What it says to a list of files, and takes another."""


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """The photographs that ship, at the paths that they have in a checkout."""
    root = tmp_path_factory.mktemp("checkout")
    (root / "samples").symlink_to(CHECKOUT / "samples")
    config: dict[str, Any] = {"Prepare": {"images": ["samples"]}}
    done = run_forked("prepare/prepare.py", config, cwd=root)
    assert done.returncode == 0, done.stderr
    with cluster(config, 2, root) as running:
        yield running


@pytest.fixture(scope="module")
def browser(
    samples: Cluster, driver: Chrome, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Browser]:
    """A browser on the page, which must not complain, nor ask anyone but our server."""
    screenshots = tmp_path_factory.mktemp("screenshots")
    browser = Browser(driver, f"http://{samples.front.address}", screenshots)
    browser.open("/docs")
    yield browser
    assert [] == [one for one in browser.complaints() if OF_SWAGGER not in one]
    assert [] == browser.strangers()


def tried(browser: Browser, operation: str, file: Path | None = None) -> str:
    """The status that "Try it out" shows for an operation, with a form where there is a file."""
    place = f"#operations-{operation}"
    browser.find(f"{place} .opblock-summary-control").click()
    browser.find(f"{place} .try-out__btn").click()
    if file:
        Select(browser.find(f"{place} .body-param-content-type select")).select_by_value(FORM)
        browser.find(f"{place} input[type=file]").send_keys(str(file))
    browser.find(f"{place} .execute").click()
    shown = browser.find(f"{place} .live-responses-table .response .response-col_status")
    return shown.text.splitlines()[0]


@pytest.mark.parametrize("operation", OPERATIONS)
def test_try_it_out_works_without_a_change(browser: Browser, operation: str) -> None:
    """Kind H: whoever presses the button sees an answer."""
    expected = "201" if operation == "Images-put" else "200"
    assert expected == tried(browser, operation)


@pytest.mark.parametrize("operation", ["Search-search", "Classify-classify"])
def test_try_it_out_works_with_a_file(browser: Browser, operation: str) -> None:
    """Fields that are left empty are not sent."""
    browser.open("/docs")  # anew, with all operations folded
    assert "200" == tried(browser, operation, CHECKOUT / "samples/owl.jpg")
