"""The environments of other projects' programs, as their users install them."""

from pathlib import Path

from common.config import CHECKOUT
from devtools.other_programs import Environment

FOLDER: Path = CHECKOUT / "data/environments"
"""Kept between runs; `make clean` removes it."""

# Newer versions of what they need lack names that they import.
CLIP_CLIENT = ("clip-client==0.8.3", "setuptools<81")
ENVIRONMENTS = {
    "pydantic-1": Environment("clip-client-pydantic-1", (*CLIP_CLIENT, "pydantic<2")),
    "pydantic-2": Environment("clip-client-pydantic-2", (*CLIP_CLIENT, "pydantic>=2")),
    # HTTP fails inside the client with any later jina, and with pydantic 2.
    "http": Environment("clip-client-http", (*CLIP_CLIENT, "pydantic<2", "jina==3.23.4")),
    "clip-server": Environment(
        "clip-as-service",
        # Only devtools/clip_as_service.py needs safetensors.
        ("clip-server==0.8.3", *CLIP_CLIENT, "pydantic<2", "safetensors"),
    ),
    "clip-retrieval": Environment(
        "clip-retrieval", ("clip-retrieval==2.45.0", "setuptools<81", "numpy<2")
    ),
}
QUIET = {"NO_VERSION_CHECK": "1", "JINA_OPTOUT_TELEMETRY": "1"}
"""The variables that keep clip-client and clip-server from asking the Internet."""


def is_installed(name: str) -> bool:
    """Whether an environment is there, whole."""
    return ENVIRONMENTS[name].is_in(FOLDER)


def programs(name: str) -> Path:
    """The folder of the programs of an environment, installed once; raises MissingPackage."""
    return ENVIRONMENTS[name].bin(FOLDER)
