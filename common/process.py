"""A command: its options, and its end after a mistake of the operator."""

import argparse
import sys
from collections.abc import Callable
from typing import Any

from common.config import CHECKOUT
from common.errors import ConfigError
from common.lifeline import end_with_parent
from common.logs import set_up

ERROR = "error: "
"""The beginning of the line that a command prints for a ConfigError."""
SUPERVISED = "--supervised"
"""The option that the supervisor gives to services: they end with it."""


class EndWithParent(argparse.Action):
    """An option without a value that ends this process with its parent."""

    def __init__(self, **options: Any) -> None:
        super().__init__(nargs=0, **options)

    def __call__(self, *_: object) -> None:
        """Do so from now on."""
        end_with_parent()


def natural(text: str) -> int:
    """The number of an option: 0 or more; raises ValueError."""
    if (number := int(text)) < 0:
        raise ValueError(f"{number} is negative")
    return number


def argument_parser(description: str | None, listed: str = "") -> argparse.ArgumentParser:
    """A parser with `--config`, the option of every command.

    If `listed` names a section that may have several servers, the parser has `--server-index`, too.
    """
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument(
        "--config",
        metavar="FILE",
        default=str(CHECKOUT / "config.json"),
        help="the configuration; - reads it from standard input (default: config.json)",
    )
    parser.add_argument(SUPERVISED, action=EndWithParent, help=argparse.SUPPRESS)
    if listed:
        text = f"listen at this entry of {listed}.server-list (default: {listed}.address, port)"
        parser.add_argument("--server-index", type=natural, metavar="N", help=text)
    return parser


def run(main: Callable[[], None]) -> None:
    """Call `main`; a ConfigError prints one line and ends the process with status 2."""
    set_up()
    try:
        main()
    except ConfigError as error:
        print(f"{ERROR}{error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(130)
