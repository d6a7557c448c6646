"""How a command ends: well, or with one line that says what the operator got wrong."""

import sys
from collections.abc import Callable

from common.errors import ConfigError
from common.logs import set_up

ERROR = "error: "
"""How the line begins that a program ends with for what the operator got wrong."""


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
