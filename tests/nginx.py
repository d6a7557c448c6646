"""nginx, for the tests that run the edge."""

import os

import pytest

from common.errors import MissingPackage
from devtools.nginx import require_nginx


def skip_without_nginx() -> None:
    """Skip where there is no nginx, or fail under CI=true."""
    try:
        require_nginx()
    except MissingPackage as error:
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(str(error))
