from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from selenium.webdriver import Chrome
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By

from devtools import services
from devtools.fork_server import run_forked
from devtools.services import CHECKOUT, Cluster
from tests.front.browsing import Browser, browsing
from tests.front.front_client import ask
from tests.front.pictures import encoded

SAMPLES = CHECKOUT / "samples"
CATS = {"cat-chelsea.jpg", "kitten-with-yarn.jpg"}
SHOWN = 24  # as the page's option has it at first


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """The first thing that a user starts: the sample pictures, a photo of a phone, the starter."""
    root = tmp_path_factory.mktemp("samples")
    with Image.open(SAMPLES / "owl.jpg") as owl:
        (root / "phone.heic").write_bytes(encoded(owl.rotate(20).convert("RGB"), "HEIF"))
    config: dict[str, Any] = {"Prepare": {"images": [str(SAMPLES), "phone.heic"]}}
    done = run_forked("prepare/prepare.py", config, cwd=root)
    assert done.returncode == 0, done.stderr
    with services.cluster(config, 2, root) as running:
        yield running


@pytest.fixture
def browser(samples: Cluster, driver: Chrome, tmp_path: Path) -> Iterator[Browser]:
    """A browser that must not complain, and must ask nobody but our server."""
    with browsing(driver, samples.front.address, tmp_path) as browser:
        yield browser


def found(cluster: Cluster, **query: Any) -> list[str]:
    """The ids that the API finds."""
    response = ask(cluster, k=SHOWN, **query)
    return [hit["id"] for hit in response.json()["hits"]]


def names(browser: Browser) -> list[str]:
    """The names of the files that the page shows."""
    return [Path(str(item.get_dom_attribute("data-path"))).name for item in browser.items()]


def test_the_start_page_tells_what_can_be_searched(browser: Browser) -> None:
    """Before any query the page has its examples, and how many images there are."""
    browser.open("/")

    browser.find("body[data-view=start]")
    count = 1 + sum(path.suffix == ".jpg" for path in SAMPLES.iterdir())
    browser.until(lambda _: f"{count} images" in browser.find("#collection").text)
    browser.shoot("start")


def test_a_text_shows_the_hits_of_the_api(browser: Browser, samples: Cluster) -> None:
    """Typing "a cat" shows what the API finds, in its order, a cat first."""
    browser.open("/")
    browser.search("a cat")

    assert found(samples, text="a cat") == browser.hits()
    assert names(browser)[0] in CATS
    assert [f"{hit['score']:.3f}" for hit in ask(samples, text="a cat", k=3).json()["hits"]] == [
        item.find_element(By.CSS_SELECTOR, ".score").text for item in browser.items()[:3]
    ]
    assert browser.find("#status").text.startswith(f"{SHOWN} images for “a cat”")
    browser.shoot("answer")


def test_another_language_is_searched_too(browser: Browser, samples: Cluster) -> None:
    """A text that is not English is answered, with the warnings that the API gives."""
    browser.open("/")
    browser.search("猫")

    assert found(samples, text="猫") == browser.hits()
    warnings = ask(samples, text="猫").json()["warnings"]
    assert warnings == [
        part.text for part in browser.find("#banner").find_elements(By.TAG_NAME, "p")
    ]
    browser.shoot("answer-other-language")


def test_an_uploaded_crop_finds_its_picture(browser: Browser, tmp_path: Path) -> None:
    """A part of a sample, uploaded, finds that sample first."""
    with Image.open(SAMPLES / "eiffel-tower.jpg") as image:
        width, height = image.size
        image.crop((width // 8, height // 8, width, height)).save(tmp_path / "crop.png")
    browser.open("/")

    browser.find("#image-input").send_keys(str(tmp_path / "crop.png"))

    browser.answered("Images like this one")
    assert "eiffel-tower.jpg" == names(browser)[0]
    assert SHOWN == len(browser.items())
    assert "crop.png" == browser.find("#chip-name").text
    browser.shoot("answer-upload")


def test_more_like_a_hit_leaves_it_out(browser: Browser, samples: Cluster) -> None:
    """A hit's link shows what the API finds by its id."""
    browser.open("/?text=a+cat")
    browser.answered("a cat")
    first = browser.items()[0]
    image_id = browser.hits()[0]

    ActionChains(browser.driver).move_to_element(first).perform()
    first.find_element(By.CSS_SELECTOR, "a.more").click()

    browser.answered("Images like this one")
    assert found(samples, id=image_id) == browser.hits()
    assert image_id not in browser.hits()
    browser.shoot("answer-more")


def test_an_address_can_be_shared(browser: Browser) -> None:
    """The address of an answer, by text or id, gives the same in a new tab; so does going back."""
    browser.open("/")
    browser.search("a red car")
    by_text = browser.hits()
    browser.open(f"/?id={by_text[0]}")
    browser.answered("Images like this one")
    by_id, address = browser.hits(), browser.driver.current_url
    browser.driver.back()
    browser.answered("a red car")
    assert by_text == browser.hits()

    browser.driver.switch_to.new_window("tab")
    browser.driver.get(address)
    browser.answered("Images like this one")

    assert by_id == browser.hits()
    browser.driver.close()
    browser.driver.switch_to.window(browser.driver.window_handles[0])


def test_an_option_changes_the_answer(browser: Browser) -> None:
    """Choosing how many images asks again, and stands in the address."""
    browser.open("/?text=mountains")
    browser.answered("mountains")
    browser.find("#options summary").click()
    browser.shoot("options")

    browser.find("select[name=k] option:first-child").click()

    browser.until(lambda _: len(browser.items()) == 12)
    assert "k=12" in browser.driver.current_url


def test_the_text_model_can_be_chosen(browser: Browser, samples: Cluster) -> None:
    """German goes to mclip by itself; choosing clip asks again, and stands in the address."""
    browser.open("/?text=eine+Katze")
    browser.answered("eine Katze")
    assert "starter-multilingual," in browser.find("#status").text
    browser.find("#options summary").click()

    browser.find("select[name=model] option[value=clip]").click()

    browser.until(lambda _: "starter," in browser.find("#status").text)
    assert found(samples, text="eine Katze", model="clip") == browser.hits()
    assert "model=clip" in browser.driver.current_url


def test_a_hit_opens_large(browser: Browser) -> None:
    """A click on a hit shows its picture and path; Escape leads back."""
    browser.open("/?text=a+cat")
    browser.answered("a cat")

    browser.find("#results li a.open").click()

    image = browser.find("#viewer[open] #viewer-image img")
    browser.until(lambda _: image.get_property("complete"))
    assert names(browser)[0] in browser.find("#viewer-path").text
    browser.shoot("viewer")
    browser.find("#viewer button").click()
    browser.until(lambda _: not browser.find("#viewer").is_displayed())


def test_a_photo_of_a_phone_is_shown(browser: Browser) -> None:
    """Kind B: browsers cannot show HEIC; the page shows its thumbnail and its preview."""
    browser.open("/?text=an+owl")
    browser.answered("an owl")
    place = names(browser).index("phone.heic")
    thumbnail = browser.items()[place].find_element(By.CSS_SELECTOR, "a.open")
    browser.driver.execute_script("arguments[0].scrollIntoView()", thumbnail)
    thumbnail.click()

    image = browser.find("#viewer[open] #viewer-image img")
    browser.until(lambda _: image.get_property("naturalWidth"))
    assert str(image.get_property("src")).endswith("/preview")
    assert "phone.heic" in browser.find("#viewer-path").text
    browser.shoot("viewer-heic")


def test_a_refused_image_is_explained(browser: Browser, tmp_path: Path) -> None:
    """The page shows the sentence of the server; the console tells of the 415 and nothing else."""
    (tmp_path / "fake.png").write_text("no image")
    browser.open("/")

    browser.find("#image-input").send_keys(str(tmp_path / "fake.png"))

    browser.find("body[data-view=error]")
    assert browser.find("#status").text.lower().startswith("not an image in a format that is read")
    browser.shoot("error")
    (complaint,) = browser.complaints()
    assert "415" in complaint


@pytest.mark.parametrize("path", ["/docs", "/redoc"])
def test_the_documentation_shows_the_operations(browser: Browser, path: str) -> None:
    """Swagger UI and ReDoc render the description, from files of this server alone.

    The one address elsewhere is ReDoc's own logo, which the page's policy blocks.
    """
    browser.open(path)

    for summary in ("Search by text, image, id or embedding", "Embed texts or images"):
        browser.shows(summary)
    browser.shoot(path.strip("/"))
    for complaint in browser.complaints():
        assert "https://cdn.redoc.ly/redoc/logo-mini.svg" in complaint
        assert "blocked" in complaint
