"""Write the pages that are made from the code: python devtools/reference/write.py."""

import sys
from collections.abc import Callable
from pathlib import Path

if __package__ in (None, ""):  # run as a script: the checkout goes on the path, not this folder
    sys.path[0] = str(Path(__file__).resolve().parent.parent.parent)

from common.config import CHECKOUT
from devtools.reference import api, config, metrics

FOLDER = CHECKOUT / "docs/reference"
PAGES: dict[str, tuple[str, Callable[[], str]]] = {
    "api.md": (api.SOURCE, api.page),
    "config.md": (config.SOURCE, config.page),
    "metrics.md": (metrics.SOURCE, metrics.page),
}
"""The pages: the source of each, and the function that makes it."""


def page(name: str) -> str:
    """A page, with a comment that says where to change it."""
    source, make = PAGES[name]
    return f"<!-- Made from {source} by `make reference`: change it there. -->\n\n{make()}"


def main() -> None:
    """Write all pages."""
    FOLDER.mkdir(exist_ok=True)
    for name in PAGES:
        (FOLDER / name).write_text(page(name))


if __name__ == "__main__":
    main()
