"""Start the embedded inference server: python inference/inference.py [--server-index 0]."""

import sys
from pathlib import Path

if __package__ in (None, ""):  # run as a script: the checkout goes on the path, not this folder
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

from msgspec.structs import replace

from common.config import load
from common.internal_auth import InternalAuth
from common.process import argument_parser, run
from common.server.serve import Serving, serve_threads
from inference.app import create_app, max_body_bytes

THREADS = 64
"""The most requests at a time. A request holds a thread until its batch is computed, so this
number also limits how many requests share a batch."""


def main() -> None:
    """Load the models, then serve them."""
    arguments = argument_parser(__doc__, listed="Inference").parse_args()
    loaded = load(arguments.config)
    inference = loaded.config.inference.at(arguments.server_index)
    config = replace(loaded.config, inference=inference)
    serving = Serving(
        *inference.bound,
        THREADS,
        max_body_bytes(config),
        process=config.process,
        max_in_flight_bytes=inference.max_in_flight_bytes,
        tls=InternalAuth(config.inside, loaded.root).tls,
    )
    serve_threads(lambda: create_app(config, loaded.root), serving)


if __name__ == "__main__":
    run(main)
