"""Row 19 of the faults: 200 slow clients, of heads, bodies and reading, through the edge."""

import json
from typing import Any

from devtools.services import Cluster
from devtools.slow_clients import ask_beside

CLIENTS = 200
"""Most of the threads that front has: the edge keeps them free."""
RATE, SECONDS = 50, 6


def test_slow_clients_leave_the_others_alone(address: str, behind: Cluster) -> None:
    """Every query beside them is answered, and as it is answered in quiet by front itself."""
    replies = ask_beside(int(address.rpartition(":")[2]), RATE, SECONDS, CLIENTS)

    assert RATE * SECONDS == len(replies)
    assert [] == [one for one in replies if not one.ok]
    for reply in replies:
        quiet = behind.front.post("/v1/search", {"text": reply.text, "k": 10})
        assert ids(quiet) == ids(json.loads(reply.body))


def ids(answer: Any) -> list[str]:
    return [hit["id"] for hit in answer["hits"]]
