"""A Segment Anything model for which there is not enough memory."""

from pathlib import Path

import pytest

from common.config import Inference
from common.errors import ConfigError
from devtools.tiny_sam import write_meta_sam, write_transformers_sam
from inference.segment import sam_memory
from inference.segment.sam import load_sam


def test_a_model_for_which_the_memory_does_not_do_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before it is loaded, with the reason; by the kind of its encoder, and by the container."""
    small, large = write_meta_sam(tmp_path / "small"), write_transformers_sam(tmp_path / "large")
    (tmp_path / "memory.max").write_text(f"{2**30 + 5}\n")
    (tmp_path / "memory.current").write_text(f"{2**30 + 4}\n")
    cached = f"anon 5\nactive_file {2**29}\ninactive_file {2**29 - 1}\n"  # all of it but 5 bytes
    (tmp_path / "memory.stat").write_text(cached)
    monkeypatch.setattr(sam_memory, "CGROUP", tmp_path)
    with pytest.raises(ConfigError, match=r"may take 32\d\d MiB .* and 1024 MiB are available"):
        load_sam(str(large), Inference(), Path())

    assert load_sam(str(small), Inference(), Path()).name == "small"


def test_the_memory_that_is_left_is_the_machines_or_the_containers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where neither tells, nothing is refused."""
    monkeypatch.setattr(sam_memory, "CGROUP", tmp_path)
    (tmp_path / "memory.max").write_text("max\n")
    assert (sam_memory.available_bytes() or 0) > 2**20
    monkeypatch.setattr(sam_memory, "MEMINFO", tmp_path / "none")
    assert sam_memory.available_bytes() is None
    sam_memory.check_memory(write_transformers_sam(tmp_path) / "onnx/vision_encoder.onnx")


def test_a_large_encoder_needs_more(tmp_path: Path) -> None:
    """By the size of its file."""
    encoder = tmp_path / "encoder.onnx"
    with encoder.open("wb") as file:
        file.truncate(342 * 2**20)
    assert 3_841 <= sam_memory.needed_bytes(encoder) / 2**20 < 4_100
    with encoder.open("wb") as file:
        file.truncate(27 * 2**20)
    assert 456 <= sam_memory.needed_bytes(encoder) / 2**20 < 600
