"""What is fuzzed: whatever goes in, only our own documented errors may come out."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from tests.fuzz import inside, outside

CORPUS = Path(__file__).parent / "corpus"
"""A folder for each target, of inputs that broke it once, or would break what is written anew."""


class Target(NamedTuple):
    """What is called with any bytes, and bytes to begin with."""

    run: Callable[[bytes], None]
    seeds: Callable[[], list[bytes]]
    max_bytes: int = 4096


TARGETS = {
    "image": Target(outside.image, outside.images),
    "request": Target(outside.request, outside.requests),
    "url": Target(outside.url, outside.urls, 256),
    "reply": Target(inside.reply, inside.replies),
    "index": Target(inside.index, inside.indexes),
}
