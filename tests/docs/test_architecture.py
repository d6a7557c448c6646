"""docs/architecture.md speaks of files that there are, and leaves out no folder of code."""

import re

from common.config import CHECKOUT
from tests.test_structure import PRODUCTION

PAGE = CHECKOUT / "docs/architecture.md"
CODE = (*PRODUCTION, "devtools")
PATH = re.compile(r"`([\w.]+/[\w./]*)`")
"""A file or a folder, as code."""
NAMES = re.compile(r"`([\w.]+/[\w/]+\.py)` \((`[^)]+`)\)")
"""A file, and in brackets behind it what to look for there."""
PATTERNS = ("X/",)
"""How the paths begin that stand for several."""


def test_each_path_is_there() -> None:
    """A file that is moved or renamed is mended on the page, too."""
    named = {path for path in PATH.findall(PAGE.read_text()) if not path.startswith(PATTERNS)}

    assert len(named) > 50
    assert [] == sorted(path for path in named if not (CHECKOUT / path).exists())


def test_each_name_is_in_its_file() -> None:
    """So is a function or a class that is renamed."""
    found = NAMES.findall(PAGE.read_text())
    words = [(path, word) for path, names in found for word in re.findall(r"\w+", names)]

    assert len(words) > 10
    assert [] == [
        (path, word)
        for path, word in words
        if not re.search(rf"\b{word}\b", (CHECKOUT / path).read_text())
    ]


def test_each_folder_of_code_is_described() -> None:
    """A newcomer finds in the first table what is in it."""
    table = PAGE.read_text().partition("\n## Where is")[0]
    packages = {
        f"{path.parent.relative_to(CHECKOUT)}/"
        for package in CODE
        for path in (CHECKOUT / package).rglob("__init__.py")
    }

    assert set() == packages - set(PATH.findall(table))


def test_the_glossary_has_a_line_for_each_word_in_order() -> None:
    """One line each, by the alphabet."""
    glossary = PAGE.read_text().partition("\n## Glossary")[2].strip().splitlines()[2:]
    words = [re.match(r"- \*\*([^*]+)\*\*: ", line) for line in glossary]

    assert all(words), glossary
    found = [word[1].lower() for word in words if word]
    assert sorted(found) == found
