"""The pages that start the most services, in a file of their own: two files run at a time."""

import pytest

from tests.docs.checkout import Checkout
from tests.docs.commands import run_page

PAGES = ("docs/guide/deploy.md", "docs/guide/cache.md")


@pytest.mark.parametrize("page", PAGES)
def test_the_commands_work(page: str, checkout: Checkout) -> None:
    """Each succeeds, and each reply is of the form that the page shows."""
    run_page(page, checkout)
