"""Start clip-as-service's own server with weights of a file; for the Python of its environment.

It knows each file of weights by its MD5, as a table has it. A file that we converted has another:
the one thing that is changed is that line of the table. Standard input is the Flow, as YAML.
"""

import hashlib
import runpy
import sys
from pathlib import Path

import torch
from clip_server.model import pretrained_models
from safetensors.torch import load_file


def main() -> None:
    """Convert the safetensors file, the first argument, for the model named by the second; then
    be clip_server."""
    weights, name = sys.argv[1:]
    table = pretrained_models._OPENCLIP_MODELS
    file = Path.home() / ".cache/clip" / table[name][0]  # where it keeps what it downloads
    file.parent.mkdir(parents=True, exist_ok=True)
    torch.save(load_file(weights), file)
    table[name] = (file.name, hashlib.md5(file.read_bytes(), usedforsecurity=False).hexdigest())
    sys.argv = ["clip_server", "-i"]
    runpy.run_module("clip_server", run_name="__main__")


if __name__ == "__main__":
    main()
