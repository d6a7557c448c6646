"""Traces are for those who install what they need."""

from importlib.machinery import ModuleSpec

import pytest

from common import tracing
from common.errors import MissingPackage


@pytest.mark.parametrize("is_there", [True, False])
def test_what_traces_need_is_looked_for(monkeypatch: pytest.MonkeyPatch, is_there: bool) -> None:
    """Without importing it; the message says how to get it."""
    spec = ModuleSpec("opentelemetry", None) if is_there else None
    monkeypatch.setattr(tracing, "find_spec", lambda _name: spec)
    if is_there:
        tracing.require()
        return
    with pytest.raises(MissingPackage, match=r"requirements-otel\.txt"):
        tracing.require()
