"""Log lines: one for each record, in logfmt, and never too many."""

import logging
import sys

import pytest

from common.logs import Lines, Sparing, places, quoted
from common.request_context import CONTEXT, NOBODY, RequestContext, merge_contexts


def record(message: str, *arguments: object, exc_info: object = None) -> logging.LogRecord:
    """A warning of the logger `x`."""
    return logging.LogRecord("x", logging.WARNING, "", 0, message, arguments, exc_info)  # type: ignore[arg-type]


def test_a_record_is_one_line_of_keys_and_values() -> None:
    """What has spaces, quotes or line breaks is quoted; more keys come from `fields`."""
    one = record('a "word"\nand %s', "more")
    one.__dict__["fields"] = {"status": 503, "took_ms": 1.5}

    line = Lines().format(one)

    assert line.startswith("time=2")
    assert 'level=warning logger=x msg="a \\"word\\"\\nand more" status=503 took_ms=1.5' in line
    assert "\n" not in line


@pytest.mark.parametrize(
    ("value", "written"), [("a", "a"), ("", '""'), ("a b", '"a b"'), ("a=b", '"a=b"'), (3, "3")]
)
def test_values_are_quoted_where_they_must_be(value: str | int, written: str) -> None:
    """Plain words and numbers stay as they are."""
    assert written == quoted(value)


def test_an_exception_is_told_by_its_kind_and_places_alone() -> None:
    """Its message may hold what a user sent, and so may the values in its frames."""
    try:
        raise ValueError("a secret photo")
    except ValueError:
        line = Lines().format(record("failed", exc_info=sys.exc_info()))

    assert "error=ValueError" in line
    assert "stack=common/test_logs.py:" in line
    assert "secret" not in line


def test_a_line_has_the_ids_of_the_requests_that_it_is_about() -> None:
    """Of those of a batch at most eight."""
    CONTEXT.set(merge_contexts([RequestContext(f"id-{number}", "trace") for number in range(20)]))
    try:
        line = Lines().format(record("failed"))
    finally:
        CONTEXT.set(NOBODY)

    assert line.endswith("request_id=" + ",".join(f"id-{number}" for number in range(8)))


def test_together_takes_one_trace_and_flattens_ids() -> None:
    """Batches of batches have no more ids than one batch."""
    both = merge_contexts(
        [RequestContext("a,b,c,d,e"), NOBODY, RequestContext("f,g,h,i,j", "trace")]
    )

    assert RequestContext("a,b,c,d,e,f,g,h", "trace") == both
    assert {"X-Request-Id": "a,b,c,d,e,f,g,h", "traceparent": "trace"} == both.headers()
    assert {} == merge_contexts([]).headers()


def test_lines_about_requests_are_bounded_and_the_rest_is_counted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The first line of the next second says how many were left out."""
    seconds = iter([1.0, 1.1, 1.2, 1.3, 2.0])
    monkeypatch.setattr("time.monotonic", lambda: next(seconds))
    sparing = Sparing(2)
    records = [record("answered") for _ in range(5)]

    assert [True, True, False, False, True] == [sparing.filter(one) for one in records]
    assert {"left_out": 2} == records[-1].__dict__["fields"]


def test_the_places_of_a_stack_end_with_the_innermost() -> None:
    """Each is a file and a line."""
    *_, last = places(sys._getframe()).split()

    assert last.startswith("common/test_logs.py:")
