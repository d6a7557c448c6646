"""A command: its options, and how it ends where the operator got something wrong."""

import argparse
import sys
from collections.abc import Callable

from common.config import CHECKOUT
from common.errors import ConfigError
from common.logs import set_up

ERROR = "error: "
"""How the line begins that a program ends with for what the operator got wrong."""


def argument_parser(description: str | None, listed: str = "") -> argparse.ArgumentParser:
    """A parser with the option that every command has, `--config`.

    With `--server-index` where `listed` names a section that may have several servers.
    """
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument(
        "--config",
        metavar="FILE",
        default=str(CHECKOUT / "config.json"),
        help="the configuration; - reads it from standard input (default: config.json)",
    )
    if listed:
        text = f"listen at this entry of {listed}.server-list (default: {listed}.address, port)"
        parser.add_argument("--server-index", type=int, metavar="N", help=text)
    return parser


def run(main: Callable[[], None]) -> None:
    """Call `main`; what the operator got wrong ends in one line and exit status 2."""
    set_up()
    try:
        main()
    except ConfigError as error:
        print(f"{ERROR}{error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(130)
