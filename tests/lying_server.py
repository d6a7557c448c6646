"""A search server that lies: a real one's replies, changed before they are passed on."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler

import msgspec

from common.digest import DIGEST, content_digest
from common.wire import encode
from devtools.services import Service
from search.messages import SearchReply
from tests.fake_server import Quiet, answering

Tamper = Callable[[SearchReply], SearchReply | bytes]


@contextmanager
def tampering(service: Service, tamper: Tamper) -> Iterator[str]:
    """The address of one that answers searches as `service` does, but for what `tamper` does."""

    class Handler(Quiet, BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._pass_on("GET", b"")

        def do_POST(self) -> None:
            self._pass_on("POST", self.rfile.read(int(self.headers["Content-Length"])))

        def _pass_on(self, method: str, body: bytes) -> None:
            reply = service.request(method, self.path, body=body, headers=dict(self.headers))
            data = reply.data
            if self.path == "/search" and reply.status == 200:
                changed = tamper(msgspec.msgpack.decode(data, type=SearchReply))
                data = changed if isinstance(changed, bytes) else encode(changed)
            self.send_response(reply.status)
            self.send_header("Content-Length", str(len(data)))
            self.send_header(DIGEST, content_digest(data))
            self.end_headers()
            self.wfile.write(data)

    with answering(Handler) as address:
        yield address
