"""What waits for the results of one request."""

import math
import threading
import time

from common.errors import DeadlineExceeded
from common.gather import Gather

SOON_S = 10.0


def test_a_deadline_may_be_as_far_as_a_caller_likes() -> None:
    """Python's own locks refuse more than some centuries."""
    gather = Gather(1, math.inf)
    threading.Timer(0.05, gather.set_result, (0, "here")).start()
    assert ["here"] == gather.wait()


def test_waiting_ends_at_the_deadline() -> None:
    """A slot that nobody settles in time is a DeadlineExceeded, the others keep their results."""
    gather = Gather(2, time.monotonic() + 0.01)
    gather.set_result(0, "here")
    waiting = threading.Thread(target=gather.wait, daemon=True)
    waiting.start()
    waiting.join(SOON_S)

    assert not waiting.is_alive()
    result = gather.wait()
    assert result[0] == "here"
    assert isinstance(result[1], DeadlineExceeded)
    gather.set_result(1, "late")
    assert isinstance(result[1], DeadlineExceeded)
