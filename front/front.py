"""Start the public server: python front/front.py [--config FILE]."""

import sys
from pathlib import Path

if __package__ in (None, ""):  # run as a script: the checkout goes on the path, not this folder
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

from common.cache_epoch import CacheEpoch
from common.config import load
from common.internal_auth import InternalAuth
from common.keys import Keys, check_exposure
from common.process import argument_parser, run
from common.server.serve import Serving, serve_workers, threads_for
from common.tls import tls_of


def main() -> None:
    """Serve the public API from worker processes."""
    loaded = load(argument_parser(__doc__).parse_args().config)
    front = loaded.config.front
    keys = Keys(loaded.path(front.keys_file) if front.keys_file else None)
    check_exposure("Front", front.bound[0], keys, front.open, ("search", "images"))
    InternalAuth(loaded.config.inside, loaded.root)  # raises here if its files are bad
    files = front.tls_cert, front.tls_key, None, front.tls_key_password_file
    serving = Serving(
        *front.bound,
        threads_for("Front", front.max_in_flight, front.threads),
        front.max_body_bytes,
        front.workers,
        loaded.config.process,
        front.max_in_flight,
        front.max_in_flight_bytes,
        tls=tls_of("Front", loaded.root, *files),
    )
    # made before the fork: all workers share it
    epoch = CacheEpoch()
    serve_workers("front.app:create_app", (loaded.config, loaded.root, epoch), serving)


if __name__ == "__main__":
    run(main)
