"""What the command lines of prepare.py and of its first step have in common."""

from argparse import ArgumentParser
from collections.abc import Sequence
from pathlib import Path

from common.files import absolute_name
from prepare.left_out import LIST_OPTION
from prepare.live_log import ACCEPT_LOG


def add_arguments(parser: ArgumentParser) -> None:
    """The options of a run."""
    parser.add_argument(
        "--max-bad", type=int, metavar="N", help="fail when more than N images are skipped"
    )
    parser.add_argument(
        "--accept-loss", action="store_true", help="let absent images leave the index"
    )
    parser.add_argument(
        ACCEPT_LOG, action="store_true", help="go on although the log is another or lacks entries"
    )
    parser.add_argument(
        LIST_OPTION, action="store_true", help="name each file that is skipped or not looked at"
    )


def absolute(names: Sequence[str]) -> tuple[Path, ...]:
    """The paths that a command line names; ~ is the home, also where the shell left it."""
    return tuple(Path(absolute_name(Path(name).expanduser())) for name in names)
