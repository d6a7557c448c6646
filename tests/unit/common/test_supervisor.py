"""What supervisord is told about each service."""

import re
from pathlib import Path

from common.server.drain import DRAIN_S
from common.supervisor import supervisord_config

WAITRESS_THREADS_S = 5
"""waitress waits this long for its threads after its last request."""


def test_no_service_is_killed_while_it_drains(tmp_path: Path) -> None:
    """SIGKILL comes after the wait, the connections, the requests and the threads."""
    text = supervisord_config({"front": ["front"], "middle": ["middle"]}, tmp_path, 4.5)
    limits = [int(value) for value in re.findall(r"^stopwaitsecs=(\d+)$", text, re.MULTILINE)]

    assert 2 == len(limits)
    assert all(limit > 4.5 + DRAIN_S + DRAIN_S + WAITRESS_THREADS_S for limit in limits)
