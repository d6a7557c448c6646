"""Write a file over and over: python -m tests.prepare.write_again PATH TIMES LETTER."""

import sys
from pathlib import Path

from common.files import replace_bytes


def main() -> None:
    """Replace the file by a thousand of the letter, each time."""
    path, times, letter = sys.argv[1:]
    for _ in range(int(times)):
        replace_bytes(Path(path), letter.encode() * 1000)


if __name__ == "__main__":
    main()
