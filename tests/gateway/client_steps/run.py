"""Try all steps: python -m tests.gateway.client_steps.run URL FOLDER.

FOLDER has `given.json`, see test_clip_client.py. Each step prints a line of JSON: its name, and
null or what failed.
"""

import json
import sys
import traceback
from pathlib import Path

from tests.gateway.client_steps import (
    embedding,  # noqa: F401 - its import adds the steps
    finding,  # noqa: F401
)
from tests.gateway.client_steps.given import STEPS, Given


def main() -> None:
    """Try each step and print how it ended."""
    given = Given(sys.argv[1], Path(sys.argv[2]))
    for function in STEPS:
        try:
            function(given)
            failure = None
        except BaseException:
            failure = traceback.format_exc()[-1500:]
        print("STEP", json.dumps([function.__name__, failure]), flush=True)


if __name__ == "__main__":
    main()
