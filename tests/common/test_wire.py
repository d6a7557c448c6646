"""Messages between our services, decoded by many threads at once."""

import subprocess
import sys

from devtools.services import CHECKOUT

FIRST_DECODES = """
import sys
import threading
import msgspec
from common.wire import decode, encode, prepare_messages

sys.setswitchinterval(1e-6)
kinds = []
for number in range(300):
    part = msgspec.defstruct(f"Part{number}", [("text", str), ("numbers", list[int])])
    fields = [("parts", list[part]), ("last", part | None, None)]
    kinds.append(msgspec.defstruct(f"Message{number}", fields))
prepare_messages()
body = encode({"parts": [{"text": "red", "numbers": [1]}]})
together = threading.Barrier(8)


def decode_all():
    for kind in kinds:
        together.wait()
        decode(body, kind)


threads = [threading.Thread(target=decode_all) for _ in range(8)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
"""


def test_many_threads_may_decode_the_first_message_of_a_kind() -> None:
    """As when the first queries of a server come at once: msgspec alone would crash."""
    done = subprocess.run([sys.executable, "-c", FIRST_DECODES], cwd=CHECKOUT, check=False)

    assert 0 == done.returncode
