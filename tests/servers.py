"""The servers that tests run our services under: what `Process.server` can be."""

import os
from importlib.util import find_spec
from typing import Any

import pytest

from devtools.services import with_section

MISSING = find_spec("granian") is None and os.environ.get("CI") != "true"
SERVERS = [
    "auto",
    pytest.param(
        "granian", marks=pytest.mark.skipif(MISSING, reason="granian is not installed here")
    ),
]


def under(server: str, config: dict[str, Any]) -> dict[str, Any]:
    """A configuration with every service under a server."""
    return with_section(config, "Process", server=server)
