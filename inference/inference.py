"""Start the embedded inference server: python inference/inference.py [--config FILE]."""

import sys
from pathlib import Path

if __package__ in (None, ""):  # run as a script: the checkout goes on the path, not this folder
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

from flask import Flask

from common.config import argument_parser, load
from common.inside import Inside
from common.process import Serving, run, serve_threads
from inference.app import create_app, max_body_bytes

THREADS = 64
"""Requests at a time; each waits for its batch, so they are as many as may share one."""


def main() -> None:
    """Load the models, then serve them."""
    loaded = load(argument_parser(__doc__).parse_args().config)
    config = loaded.config
    inside = Inside(config.inside, loaded.root)
    address, port = config.inference.address, config.inference.port

    def create() -> Flask:
        app = create_app(config, loaded.root)
        inside.guard(app, address)
        return app

    limit = max_body_bytes(config)
    serve_threads(
        create, Serving(address, port, THREADS, limit, process=config.process, tls=inside.tls)
    )


if __name__ == "__main__":
    run(main)
