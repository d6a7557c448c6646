"""CLIP-as-service's server with the weights of a file: clip_as_service.py WEIGHTS NAME HTTP GRPC.

Runs in the environment of clip-server. WEIGHTS is a file of safetensors, NAME the model's name
there, HTTP and GRPC are ports. clip-server has a table of the MD5 of each weights file. The MD5 of
the converted file replaces one line of this table; nothing else is changed.
"""

import hashlib
import io
import runpy
import sys
from pathlib import Path

import torch
from clip_server.model.pretrained_models import _OPENCLIP_MODELS
from safetensors.torch import load_file

if __name__ == "__main__":
    weights, name, *ports = sys.argv[1:]
    file = Path.home() / ".cache/clip" / _OPENCLIP_MODELS[name][0]  # the folder of downloads
    file.parent.mkdir(parents=True, exist_ok=True)
    torch.save(load_file(weights), file)
    digest = hashlib.md5(file.read_bytes(), usedforsecurity=False).hexdigest()
    _OPENCLIP_MODELS[name] = (file.name, digest)
    flow = Path(__file__).with_suffix(".yml").read_text()
    sys.stdin = io.StringIO(flow.replace("PORTS", f"[{', '.join(ports)}]").replace("MODEL", name))
    sys.argv = ["clip_server", "-i"]
    runpy.run_module("clip_server", run_name="__main__")
