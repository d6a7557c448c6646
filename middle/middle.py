"""Start the middle server: python middle/middle.py [--config FILE] [--server-index 0]."""

import sys
from pathlib import Path

if __package__ in (None, ""):  # run as a script: the checkout goes on the path, not this folder
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

from msgspec.structs import replace

from common.config import load
from common.internal_auth import InternalAuth
from common.process import argument_parser, run
from common.server.serve import Serving, serve_workers, threads_for
from common.cache_epoch import CacheEpoch


def main() -> None:
    """Serve queries from worker processes."""
    arguments = argument_parser(__doc__, listed="Middle").parse_args()
    loaded = load(arguments.config)
    middle = loaded.config.middle.at(arguments.server_index)
    config = replace(loaded.config, middle=middle)
    serving = Serving(
        *middle.bound,
        threads_for("Middle", middle.max_in_flight, middle.threads),
        config.max_message_bytes,
        middle.workers,
        config.process,
        middle.max_in_flight,
        middle.max_in_flight_bytes,
        tls=InternalAuth(config.inside, loaded.root).tls,
    )
    # created before the fork, so that all workers share the mark
    epoch = CacheEpoch()
    serve_workers("middle.app:create_app", (config, loaded.root, epoch), serving)


if __name__ == "__main__":
    run(main)
