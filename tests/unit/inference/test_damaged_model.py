"""A model whose files are damaged stops the start with a message that names it."""

from pathlib import Path

import pytest

from common.config import Inference
from common.errors import ConfigError
from devtools.tiny_model import write_tiny_model
from inference.clip.model import load_model, space_of_model


@pytest.mark.parametrize(
    "damage", [b"", b"\xff", b'{"interpolation":"\xff"}', b'{"other":' + b"[" * 100_000]
)
def test_settings_that_cannot_be_read_are_told_as_such(tmp_path: Path, damage: bytes) -> None:
    """Where a byte is no UTF-8, too."""
    write_tiny_model(tmp_path / "tiny")
    (tmp_path / "tiny/visual/preprocess_cfg.json").write_bytes(damage)
    with pytest.raises(ConfigError, match="model tiny"):
        load_model("tiny", Inference(), tmp_path)
    with pytest.raises(ConfigError, match="model tiny"):
        space_of_model("tiny", tmp_path)
