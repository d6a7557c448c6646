"""The edge, where it cannot run."""

import shutil
from pathlib import Path

import pytest

from common.errors import MissingPackage
from devtools.nginx import edge


def test_without_nginx_it_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a benchmark hears it, which then leaves out what needs it."""
    monkeypatch.setattr(shutil, "which", lambda *_, **__: None)

    with pytest.raises(MissingPackage, match="nginx-light"), edge(1, tmp_path):
        raise AssertionError("it runs")
