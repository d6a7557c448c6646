"""Downloading models: each failure is told with what to do about it."""

from errno import ENOSPC
from pathlib import Path
from typing import Any

import httpx2
import huggingface_hub
import pytest

from common.errors import ConfigError
from devtools.tiny_model import write_tiny_model
from inference.clip.hub import download


def answer(monkeypatch: pytest.MonkeyPatch, result: Any) -> None:
    """Have the hub's client give a folder, or fail."""

    def snapshot_download(*_: Any, **__: Any) -> str:
        if isinstance(result, Exception):
            raise result
        return str(result)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot_download)


def test_a_model_is_the_folder_of_its_files(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """One that holds no model is refused."""
    answer(monkeypatch, write_tiny_model(tmp_path / "tiny"))
    assert download("owner/tiny") == tmp_path / "tiny"
    (tmp_path / "empty").mkdir()
    answer(monkeypatch, tmp_path / "empty")
    with pytest.raises(ConfigError, match="holds no model"):
        download("owner/empty")


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (OSError(ENOSPC, "No space left on device"), "cannot be kept"),
        (OSError("no route to host"), "the hub cannot be reached"),
        (ValueError("offline mode"), "the hub cannot be reached"),
        (TimeoutError(), "the hub cannot be reached .TimeoutError"),
        (httpx2.ReadError("connection reset"), "the hub cannot be reached .connection reset"),
        (RuntimeError("xet: no route"), "the hub cannot be reached"),
    ],
)
def test_what_went_wrong_is_told(
    monkeypatch: pytest.MonkeyPatch, error: Exception, told: str
) -> None:
    """A full disk is not the network."""
    answer(monkeypatch, error)
    with pytest.raises(ConfigError, match=told):
        download("owner/name")
