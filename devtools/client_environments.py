"""The environments of other projects' clients, as their users install them."""

from pathlib import Path

from common.config import CHECKOUT
from devtools.other_programs import Environment

FOLDER: Path = CHECKOUT / "data/environments"
"""Kept between runs; `make clean` removes it."""

CLIP_CLIENT = ("clip-client==0.8.3", "setuptools<81")
ENVIRONMENTS = {
    "pydantic-1": Environment("clip-client-pydantic-1", (*CLIP_CLIENT, "pydantic<2")),
    "pydantic-2": Environment("clip-client-pydantic-2", (*CLIP_CLIENT, "pydantic>=2")),
    # HTTP fails inside the client with any later jina, and with pydantic 2.
    "http": Environment("clip-client-http", (*CLIP_CLIENT, "pydantic<2", "jina==3.23.4")),
}
