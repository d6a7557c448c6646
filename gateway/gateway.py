"""Start the gateway for CLIP-as-service's clients: python gateway/gateway.py [--config FILE]."""

import asyncio
import sys
from pathlib import Path

if __package__ in (None, ""):  # run as a script: the checkout goes on the path, not this folder
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

from common.config import load
from common.errors import MissingPackage
from common.logs import set_level
from common.process import argument_parser, run
from common.server import worker_metrics


def main() -> None:
    """Serve gRPC, HTTP and WebSocket from one process."""
    loaded = load(argument_parser(__doc__).parse_args().config)
    set_level(loaded.config.process.log_level)
    worker_metrics.share(1)
    try:
        from gateway.server import serve
    except ModuleNotFoundError as error:
        if error.name not in ("grpc", "google.protobuf"):
            raise
        needed = "pip install -r requirements-gateway.txt"
        raise MissingPackage(f"the gateway needs: {needed}") from None
    asyncio.run(serve(loaded))


if __name__ == "__main__":
    run(main)
