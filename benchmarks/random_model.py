"""A model of one of open_clip's architectures with random weights, which are as fast as trained
ones; needs requirements-torch.txt."""

import json
import logging
import subprocess
import sys
import tempfile
from pathlib import Path

from common.config import CHECKOUT
from common.errors import ConfigError, MissingPackage

try:
    import open_clip
    import torch
    from safetensors.torch import save_file

    from inference.torch_models import OPEN_CLIP_CONFIG
except ImportError as error:
    raise MissingPackage(
        f"there is no {error.name}: pip install -r requirements-torch.txt"
    ) from None


def export_random(architecture: str, output: Path, precisions: list[str]) -> None:
    """Export a model as inference/export.py does, torch's weights too; raises ConfigError.

    By a process of its own: the export changes how torch then runs attention.
    """
    with tempfile.TemporaryDirectory(prefix="clip-search-random-") as folder:
        _save(architecture, Path(folder))
        output.parent.mkdir(parents=True, exist_ok=True)
        options = [option for one in precisions for option in ("--precision", one)]
        script = str(CHECKOUT / "inference/export.py")
        done = subprocess.run(
            [sys.executable, script, folder, "--output", str(output), "--torch", *options],
            check=False,
        )
    if done.returncode:
        raise ConfigError(f"{architecture}: its export ended with {done.returncode}")


def _save(architecture: str, folder: Path) -> None:
    """Write the model as open_clip saves its own."""
    config = open_clip.get_model_config(architecture)
    if config is None:
        raise ConfigError(f"open_clip has no architecture {architecture!r}")
    # What open_clip logs of each step would bury the lines that are for people.
    logging.getLogger().setLevel(logging.ERROR)
    torch.manual_seed(0)
    model = open_clip.create_model(architecture, pretrained=None)
    preprocessing = open_clip.get_model_preprocess_cfg(model)
    described = {"model_cfg": config, "preprocess_cfg": preprocessing}
    (folder / OPEN_CLIP_CONFIG).write_text(json.dumps(described))
    # Copies: safetensors wants memory that no two tensors share.
    state = {name: value.clone().contiguous() for name, value in model.state_dict().items()}
    save_file(state, folder / "open_clip_model.safetensors")
