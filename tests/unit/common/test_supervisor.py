"""What supervisord is told about each service."""

import re
import shlex

from supervisor.options import UnhosedConfigParser

from common.server.drain import DRAIN_S
from common.supervisor import supervisord_config

WAITRESS_THREADS_S = 5
"""waitress waits this long for its threads after its last request."""


def test_no_service_is_killed_while_it_drains() -> None:
    """SIGKILL comes after the wait, the connections, the requests and the threads."""
    text = supervisord_config({"front": ["front"], "middle": ["middle"]}, 4.5)
    limits = [int(value) for value in re.findall(r"^stopwaitsecs=(\d+)$", text, re.MULTILINE)]

    assert 2 == len(limits)
    assert all(limit > 4.5 + DRAIN_S + DRAIN_S + WAITRESS_THREADS_S for limit in limits)


def test_a_command_may_have_any_signs() -> None:
    """supervisord reads no comment, no quote and no name of a variable in a path."""
    command = ["python", "/home/me/Photos #1 ;old/it's 100%(here)s/config.json"]
    parser = UnhosedConfigParser()
    parser.read_string(supervisord_config({"front": command}, 0))

    assert command == shlex.split(parser.saneget("program:front", "command"))
