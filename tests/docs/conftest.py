from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.docs.checkout import Checkout, Origin, write_origin


@pytest.fixture(scope="session")
def origin(tmp_path_factory: pytest.TempPathFactory) -> Origin:
    """This working tree, committed."""
    return write_origin(tmp_path_factory.mktemp("origin"))


@pytest.fixture
def checkout(origin: Origin, tmp_path: Path) -> Iterator[Checkout]:
    """A clone of it for one page."""
    checkout = Checkout(origin, tmp_path)
    yield checkout
    checkout.close()
