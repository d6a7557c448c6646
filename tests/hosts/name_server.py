"""A name server for tests: it tells the addresses of a table, and can fall silent."""

import socket
import struct
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress

A, IN = 1, 1
UNKNOWN = 3
"""The response code NXDOMAIN."""
ANSWER = 0x8580
"""The flags of an authoritative answer."""
TTL_S = 0


class NameServer:
    """Answers questions for IPv4 addresses over UDP (RFC 1035)."""

    def __init__(self, names: Mapping[str, Sequence[str]]) -> None:
        self.names = dict(names)
        self.is_silent = False
        self.asked = 0

    def answer(self, question: bytes) -> bytes:
        """The reply to a message with one question; a known name without IPv4 has no records."""
        name, end = _name_in(question)
        kind, _ = struct.unpack_from("!HH", question, end)
        addresses = self.names.get(name.lower(), ()) if kind == A else ()
        code = 0 if name.lower() in self.names else UNKNOWN
        counts = (1, len(addresses), 0, 0)
        head = question[:2] + struct.pack("!HHHHH", ANSWER | code, *counts)
        records = [
            struct.pack("!HHHIH", 0xC00C, A, IN, TTL_S, 4) + socket.inet_aton(address)
            for address in addresses
        ]
        return head + question[12 : end + 4] + b"".join(records)

    def serve(self, listener: socket.socket) -> None:
        """Answer until the socket is shut down."""
        with suppress(OSError):
            while True:
                question, asker = listener.recvfrom(512)
                self.asked += 1
                if not self.is_silent and len(question) > 12:
                    listener.sendto(self.answer(question), asker)


def _name_in(question: bytes) -> tuple[str, int]:
    """The name in a question, and where it ends."""
    labels, at = [], 12
    while size := question[at]:
        labels.append(question[at + 1 : at + 1 + size].decode("latin-1"))
        at += 1 + size
    return ".".join(labels), at + 1


@contextmanager
def name_server(address: str, names: Mapping[str, Sequence[str]]) -> Iterator[NameServer]:
    """A name server at port 53 of an address, as long as the block runs."""
    server = NameServer(names)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as listener:
        listener.bind((address, 53))
        listener.settimeout(None)
        thread = threading.Thread(target=server.serve, args=(listener,), daemon=True)
        thread.start()
        try:
            yield server
        finally:
            with suppress(OSError):  # an unconnected socket says so, and ends its reader
                listener.shutdown(socket.SHUT_RDWR)
            thread.join(5)
