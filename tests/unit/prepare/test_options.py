"""The command line of a run."""

from argparse import ArgumentParser
from pathlib import Path

from prepare.options import absolute, add_arguments


def test_nothing_is_agreed_to_unless_it_is_said() -> None:
    """Each loss by an option of its own."""
    parser = ArgumentParser()
    add_arguments(parser)

    options = parser.parse_args([])
    assert not options.accept_loss
    assert not options.accept_log
    assert parser.parse_args(["--accept-log"]).accept_log


def test_paths_are_absolute() -> None:
    """From the folder in which the command runs, or from the home."""
    assert absolute(["a/../b", "~/c"]) == (Path.cwd() / "b", Path.home() / "c")
    assert absolute(["//mnt/a", "///mnt/a"]) == (Path("/mnt/a"), Path("/mnt/a"))
