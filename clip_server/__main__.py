"""Serve a Flow of CLIP-as-service: python -m clip_server [FILE | -i]."""

import json
import os
import socket
import sys
import tempfile
from argparse import ArgumentParser
from importlib.util import find_spec
from pathlib import Path

from clip_server.flow import Fields, Machine, read_flow, understand
from common.config import parse
from common.errors import ConfigError
from common.process import run
from common.supervisor import supervise
from inference.clip.devices import count_gpus

PRESETS = Path(__file__).resolve().parent
DEFAULT = "torch-flow.yml"
USAGE = "python -m clip_server [FILE | -i] [--host ADDRESS]"
DEVICES, LEVEL = "CUDA_VISIBLE_DEVICES", "JINA_LOG_LEVEL"


def main() -> None:
    """Start inference, middle and the gateway for a Flow, and print what was understood."""
    parser = ArgumentParser(usage=USAGE, description=__doc__)
    parser.add_argument("file", nargs="?", default=DEFAULT, help="a Flow in YAML, or a preset")
    parser.add_argument("-i", action="store_true", help="read the Flow from standard input")
    parser.add_argument("--host", metavar="ADDRESS", help="where a Flow without a host listens")
    arguments = parser.parse_args()
    text, root = _read("-i" if arguments.i else arguments.file)
    devices = os.environ.get(DEVICES, "")
    if devices.startswith("RR"):
        del os.environ[DEVICES]  # CUDA would see no device at all
    machine = Machine(
        count_gpus(), find_spec("torch") is not None, devices, _free_port, arguments.host
    )
    understood = understand(read_flow(text), machine)
    _make_absolute(understood.config, root)
    level = "debug" if os.environ.get(LEVEL, "").upper() == "DEBUG" else "info"
    config = {**understood.config, "Process": {"log-level": level}}
    print("\n  Flow:", *understood.lines, sep="\n    ", flush=True)
    print(f"  config.json: {json.dumps(config)}", flush=True)
    checked = parse(json.dumps(config))
    with tempfile.NamedTemporaryFile("w", prefix="clip-server-", suffix=".json") as file:
        json.dump(config, file)
        file.flush()
        sys.exit(supervise(checked, Path(file.name)))


def _read(name: str) -> tuple[str, Path]:
    """The text of a Flow, and the folder that its relative paths start from."""
    path = Path(name)
    try:
        if name == "-i":
            return sys.stdin.read(), Path.cwd()
        if not path.exists() and (PRESETS / name).is_file():
            return (PRESETS / name).read_text(), Path.cwd()
        return path.read_text(), path.resolve().parent
    except OSError as error:
        raise ConfigError(f"cannot read {name}: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise ConfigError(f"cannot read {name}: {error}") from None


def _make_absolute(config: Fields, root: Path) -> None:
    """Have the paths of a Flow start from its folder: the configuration is in another one."""
    gateway, inference = config["Gateway"], config["Inference"]
    for key in gateway.keys() & {"tls-cert", "tls-key"}:
        gateway[key] = str(root / gateway[key])
    if (root / inference["clip"]).is_dir():
        inference["clip"] = str(root / inference["clip"])


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])


if __name__ == "__main__":
    run(main)
