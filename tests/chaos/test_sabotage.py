"""That the sabotages of `make chaos` still break what they name."""

import pytest

from devtools.services import CHECKOUT
from tests.chaos.sabotage import SABOTAGES, Sabotage


@pytest.mark.parametrize("sabotage", SABOTAGES, ids=lambda one: one.name)
def test_what_is_sabotaged_is_there_once(sabotage: Sabotage) -> None:
    """Else a sabotage would change nothing, or more than it says."""
    assert (CHECKOUT / sabotage.file).read_text().count(sabotage.right) == 1
