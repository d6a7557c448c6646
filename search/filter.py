"""A condition on the fields of images: the `filter` of a search, a tree of tests."""

from collections.abc import Collection, Iterator
from typing import Annotated

import msgspec
from msgspec import Meta

from common.errors import BadRequest

Value = str | int | float | bool
MAX_DEPTH = 8
MAX_TESTS = 64
MAX_VALUES = 256
"""In `in`."""
MAX_TEXT = 1024
"""Characters of a text; of a longer one in the index, the first 1,025 are compared."""
WHOLE = range(-(2**63), 2**64)
"""The whole numbers that a message can carry. Metadata has no others."""
TESTS = ("eq", "ne", "in", "prefix", "exists")
BOUNDS = ("gt", "gte", "lt", "lte")
NODES = ("and", "or", "not")


class Filter(
    msgspec.Struct,
    frozen=True,
    omit_defaults=True,
    forbid_unknown_fields=True,
    kw_only=True,
    rename=lambda name: name.removesuffix("_"),
):
    """A test of one field, or `and`, `or`, `not` of other filters.

    Only an image that has the field passes a test of it, but for `exists: false`. A value passes
    no test of another kind: the text "1", the number 1 and true are three values.
    """

    field: (
        Annotated[str, Meta(description="the name of a field, as /v1/info lists them")] | None
    ) = None
    eq: Annotated[Value, Meta(description="the field has this value")] | None = None
    ne: Annotated[Value, Meta(description="the field has another value")] | None = None
    in_: (
        Annotated[
            tuple[Value, ...],
            Meta(
                description="the field has one of these values",
                extra_json_schema={"minItems": 1, "maxItems": MAX_VALUES},
            ),
        ]
        | None
    ) = None
    prefix: Annotated[str, Meta(description="the field is a text that begins so")] | None = None
    exists: Annotated[bool, Meta(description="whether the image has the field")] | None = None
    gt: Annotated[str | int | float, Meta(description="greater than")] | None = None
    gte: Annotated[str | int | float, Meta(description="at least")] | None = None
    lt: Annotated[str | int | float, Meta(description="less than")] | None = None
    lte: Annotated[str | int | float, Meta(description="at most")] | None = None
    and_: Annotated[tuple["Filter", ...], Meta(description="all of these pass")] | None = None
    or_: Annotated[tuple["Filter", ...], Meta(description="one of these passes")] | None = None
    not_: Annotated["Filter", Meta(description="this does not pass")] | None = None

    def given(self, names: tuple[str, ...]) -> list[str]:
        """Which of some fields, by their names in JSON, are there."""
        return [name for name in names if self.get(name) is not None]

    def get(self, name: str) -> object:
        """A field by its name in JSON."""
        return getattr(self, f"{name}_" if name in ("in", *NODES) else name)

    def parts(self) -> Iterator[tuple[str, "Filter"]]:
        """The filters of a node, each with where it is."""
        if self.not_ is not None:
            yield "not", self.not_
        for name, parts in (("and", self.and_), ("or", self.or_)):
            for place, part in enumerate(parts or ()):
                yield f"{name}[{place}]", part


def check_filter(tree: Filter) -> Filter:
    """Check what the types cannot express; raises BadRequest that says where."""
    tests = list(_tests(tree, "filter", 1))
    if len(tests) > MAX_TESTS:
        raise _refusal("filter", f"{len(tests)} tests; {MAX_TESTS} is the limit")
    for where, test in tests:
        _check_test(test, where)
    return tree


def check_fields(tree: Filter, known: Collection[str]) -> None:
    """Raise BadRequest if a filter tests a field that no image has."""
    check_filter(tree)
    for where, test in _tests(tree, "filter", 1):
        check_field(test.field or "", known, where)


def check_field(field: str, known: Collection[str], where: str) -> None:
    """Raise BadRequest if no image has a field."""
    if field not in known:
        fields = ", ".join(sorted(known)) or "none: run prepare once more"
        raise BadRequest(
            f"`{where}`: no image has a field {field!r}; the fields are {fields}", "unknown_field"
        )


def _tests(tree: Filter, where: str, depth: int) -> Iterator[tuple[str, Filter]]:
    """The tests of a tree, each with where it is; raises BadRequest for a node that is none."""
    if depth > MAX_DEPTH:
        raise _refusal(where, f"nested too deeply; {MAX_DEPTH} levels are the limit")
    nodes, tested = tree.given(NODES), tree.given(("field", *TESTS, *BOUNDS))
    if bool(nodes) == bool(tested) or len(nodes) > 1:
        raise _refusal(where, "give `field` and a test, or one of `and`, `or`, `not`")
    if not nodes:
        yield where, tree
        return
    if () in (tree.and_, tree.or_):
        raise _refusal(f"{where}.{nodes[0]}", "it has no part")
    for place, part in tree.parts():
        yield from _tests(part, f"{where}.{place}", depth + 1)


def _check_test(test: Filter, where: str) -> None:
    tests, bounds = test.given(TESTS), test.given(BOUNDS)
    if test.field is None:
        raise _refusal(where, "`field` is missing")
    if len(tests) + bool(bounds) != 1:
        raise _refusal(where, f"give one of {', '.join(TESTS)}, or bounds: {', '.join(BOUNDS)}")
    if {"gt", "gte"} <= set(bounds) or {"lt", "lte"} <= set(bounds):
        raise _refusal(where, "give gt or gte, and lt or lte")
    if len({isinstance(test.get(bound), str) for bound in bounds}) > 1:
        raise _refusal(where, "both bounds are texts, or both are numbers")
    if test.in_ is not None and not 0 < len(test.in_) <= MAX_VALUES:
        raise _refusal(where, f"`in` has 1 to {MAX_VALUES} values")
    values = [test.field, *(test.in_ or ()), *(test.get(name) for name in (*tests, *bounds))]
    if any(isinstance(value, str) and len(value) > MAX_TEXT for value in values):
        raise _refusal(where, f"a text has more than {MAX_TEXT} characters")
    if any(isinstance(value, int) and value not in WHOLE for value in values):
        raise _refusal(where, f"a whole number is not within {WHOLE[0]} and {WHOLE[-1]}")


def _refusal(where: str, why: str) -> BadRequest:
    return BadRequest(f"`{where}`: {why}", "bad_filter")
