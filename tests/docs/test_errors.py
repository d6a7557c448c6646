"""docs/reference/errors.md lists every code that an error may have, under its status."""

import ast
import re
from collections.abc import Iterator

from werkzeug.exceptions import default_exceptions

from common import errors
from common.config import CHECKOUT
from front.openapi.errors import ERRORS
from tests.test_structure import PRODUCTION, modules

Code = tuple[str, int]
"""A code and the status that it comes with."""


def kinds(kind: type[errors.ServiceError] = errors.ServiceError) -> dict[str, Code]:
    """The code and status of each exception, by its name."""
    found = {kind.__name__: (kind.code, kind.status)}
    for below in kind.__subclasses__():
        found |= kinds(below)
    return found


def raised(source: str) -> Iterator[Code]:
    """The codes that a module names where it makes errors."""
    known = kinds()
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name):
            continue
        given = [*node.args[1:2], *(word.value for word in node.keywords if word.arg == "code")]
        for constant in (one for each in given for one in ast.walk(each)):
            if node.func.id in known and isinstance(constant, ast.Constant):
                yield str(constant.value), known[node.func.id][1]


def listed() -> set[Code]:
    """The codes of the page: each item is under its status, or names it."""
    found, status = set(), 0
    for line in (CHECKOUT / "docs/reference/errors.md").read_text().splitlines():
        if line.startswith("## "):
            number = re.match(r"## (\d{3}) ", line)
            status = int(number[1]) if number else 0
        if item := re.match(r"- `(\w+)`(?:, (\d{3}))?:", line):
            found.add((item[1], int(item[2] or status)))
    return found


def in_the_code() -> set[Code]:
    """The codes of the exceptions, and those that they are given where they are raised."""
    paths = (path for package in PRODUCTION for path in modules(package))
    named = {code for path in paths for code in raised(path.read_text())}
    return named | set(kinds().values())


def test_each_code_of_the_code_is_on_the_page() -> None:
    """With the status that it comes with."""
    assert set() == in_the_code() - listed()


def test_the_page_has_no_code_that_nothing_raises() -> None:
    """But for those of werkzeug, which are named after its errors, and of the edge."""
    theirs = {
        (kind().name.lower().replace(" ", "_"), status)
        for status, kind in default_exceptions.items()
    }
    assert set() == listed() - in_the_code() - theirs


def test_the_page_has_every_code_of_the_openapi_document() -> None:
    """Under the same status."""
    assert {(code, error.status) for code, error in ERRORS.items()} <= listed()


def test_codes_are_found_in_each_form() -> None:
    """Given by place, by name, or as one of two; what is no error of ours is passed over."""
    source = 'Unavailable("x", "a" if b else "c"), NotFound("x", code="d"), Other("x", "e")'
    assert {("a", 503), ("c", 503), ("d", 404)} == set(raised(source))
