"""supervisord, which stops all services and ends when the supervisor has ended."""

import sys
from pathlib import Path

if __package__ in (None, ""):  # run as a script: the checkout goes on the path, not this folder
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

from supervisor import supervisord

from common.lifeline import end_with_parent


def main() -> None:
    """Run supervisord with the arguments of this command."""
    end_with_parent()
    supervisord.main(sys.argv[1:])


if __name__ == "__main__":
    main()
