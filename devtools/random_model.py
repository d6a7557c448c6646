"""A model with an architecture of open_clip and random weights, as fast as trained weights.

It needs requirements-torch.txt.
"""

import json
import logging
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from common.config import CHECKOUT
from common.errors import ConfigError, MissingPackage

try:
    import open_clip
    import torch

    from inference.exporting.torch_models import OPEN_CLIP_CONFIG, save_weights
except ImportError as error:
    raise MissingPackage(
        f"there is no {error.name}: pip install -r requirements-torch.txt"
    ) from None

WEIGHTS = "open_clip_model.safetensors"


def random_model(architecture: str, folder: Path, precisions: list[str]) -> tuple[str, Path]:
    """The folder of a random model, exported once, and its weights as open_clip saves them.

    Raises ConfigError.
    """
    model, source = folder / architecture, folder / "sources" / architecture
    if not source.is_dir():
        write_architecture(architecture, source)
    if not model.is_dir():
        export_random(architecture, model, precisions)
    return str(model), source / WEIGHTS


def export_random(architecture: str, output: Path, precisions: list[str]) -> None:
    """Export a model by inference/export.py, with torch's weights; raises ConfigError.

    The export runs in a process of its own, as it changes how torch runs attention.
    """
    # The logs of open_clip would hide the lines that are meant for the user.
    logging.getLogger().setLevel(logging.ERROR)
    with tempfile.TemporaryDirectory(prefix="clip-search-random-") as folder:
        write_architecture(architecture, Path(folder))
        output.parent.mkdir(parents=True, exist_ok=True)
        options = [option for precision in precisions for option in ("--precision", precision)]
        script = str(CHECKOUT / "inference/export.py")
        done = subprocess.run(
            [sys.executable, script, folder, "--output", str(output), "--torch", *options],
            check=False,
        )
    if done.returncode:
        raise ConfigError(f"{architecture}: its export ended with {done.returncode}")


def write_architecture(architecture: str, folder: Path) -> None:
    """Write a model with an architecture of open_clip, by `write_random`; raises ConfigError."""
    config = open_clip.get_model_config(architecture)
    if config is None:
        raise ConfigError(f"open_clip has no architecture {architecture!r}")
    write_random(config, {}, folder)


def write_random(config: dict[str, Any], preprocessing: dict[str, Any], folder: Path) -> None:
    """Write a model with random weights of seed 0 in `folder`, as open_clip saves models.

    `config` is open_clip's `model_cfg`, `preprocessing` its `preprocess_cfg`, or a part of it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    described = {"model_cfg": config, "preprocess_cfg": preprocessing}
    (folder / OPEN_CLIP_CONFIG).write_text(json.dumps(described))
    torch.manual_seed(0)
    model = open_clip.create_model(
        f"local-dir:{folder}", load_weights=False, pretrained_text=False, pretrained_image=False
    )
    save_weights(model, folder / WEIGHTS)
