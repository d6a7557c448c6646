"""The pages of docs/reference that are made from the code are what the code makes now."""

import pytest

from devtools.reference.write import FOLDER, PAGES, page


@pytest.mark.parametrize("name", PAGES)
def test_a_page_is_what_is_made_of_the_code_now(name: str) -> None:
    """After a change of the code, `make reference` writes the page anew."""
    assert page(name) == (FOLDER / name).read_text(), "run make reference"
