"""A model whose files are damaged stops the start with a message that names it."""

import json
import shutil
from pathlib import Path

import pytest

from common.config import Inference
from common.errors import ConfigError
from devtools.tiny_model import write_tiny_model
from inference.clip.model import load_model, space_of_model


def test_a_text_tower_that_is_not_there_is_told(tmp_path: Path) -> None:
    """As in half a copy of a model for the role mclip, which needs no images."""
    shutil.rmtree(write_tiny_model(tmp_path / "tiny") / "textual")
    with pytest.raises(ConfigError, match="tiny has no text tower"):
        load_model("tiny", Inference(), tmp_path, image=False)


def test_a_tokenizer_s_settings_that_are_no_json_are_told_as_such(tmp_path: Path) -> None:
    """The start ends with one line."""
    folder = write_tiny_model(tmp_path / "tiny")
    config = json.loads((folder / "config.json").read_bytes())
    config["text_cfg"]["hf_tokenizer_name"] = "one"
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "textual/tokenizer_config.json").write_text("{")
    with pytest.raises(ConfigError, match="model tiny"):
        load_model("tiny", Inference(), tmp_path)


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
