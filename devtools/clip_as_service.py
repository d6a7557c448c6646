"""Start clip-as-service with the weights of a file, by the Python of its own environment.

clip-as-service has a table of the MD5 of each weights file. The MD5 of the converted file replaces
one line of this table; nothing else is changed. Standard input is the Flow, in YAML.
"""

import hashlib
import runpy
import sys
from pathlib import Path

import torch
from clip_server.model.pretrained_models import _OPENCLIP_MODELS
from safetensors.torch import load_file

if __name__ == "__main__":
    weights, name = sys.argv[1:]  # a safetensors file, and the name that its model gets
    file = Path.home() / ".cache/clip" / _OPENCLIP_MODELS[name][0]  # the folder of downloads
    file.parent.mkdir(parents=True, exist_ok=True)
    torch.save(load_file(weights), file)
    digest = hashlib.md5(file.read_bytes(), usedforsecurity=False).hexdigest()
    _OPENCLIP_MODELS[name] = (file.name, digest)
    sys.argv = ["clip_server", "-i"]
    runpy.run_module("clip_server", run_name="__main__")
