"""The yardstick: a bare Flask app on the server of middle: python benchmarks/hello.py."""

import sys
from pathlib import Path

if __package__ in (None, ""):  # run as a script: the checkout goes on the path, not this folder
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

from flask import Flask

from common.config import load
from common.process import argument_parser, run
from common.server.serve import Serving, serve_workers, threads_for


def create_app() -> Flask:
    """An app that says hello, whatever it is sent."""
    app = Flask("hello")

    @app.post("/search")
    def hello() -> str:
        return "hello"

    return app


def main() -> None:
    """Serve it with the workers and threads of middle, on any free port."""
    middle = load(argument_parser(__doc__).parse_args().config).config.middle
    threads = threads_for("Middle", middle.max_in_flight, middle.threads)
    serving = Serving(middle.address, 0, threads, 2**20, middle.workers)
    serve_workers("benchmarks.hello:create_app", (), serving)


if __name__ == "__main__":
    run(main)
