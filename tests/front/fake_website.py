"""A server somewhere on the Internet, good or bad: it answers each path with bytes as they are."""

import socketserver
import ssl
import subprocess
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

DRIP_S = 0.05
OK = b"HTTP/1.1 200 OK\r\n"


def reply(body: bytes, *headers: str, status: str = "200 OK") -> bytes:
    """A reply with the length of its body, and headers."""
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers, "", ""]
    return "\r\n".join(lines).encode() + body


def moved(location: str, *headers: str) -> bytes:
    """A reply that leads elsewhere."""
    return reply(b"", f"Location: {location}", *headers, status="302 Found")


class Elsewhere:
    """What the server answers to a path, what it drips for ever after, and what it was asked."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.answers: dict[str, bytes] = {}
        self.waits_s: dict[str, float] = {}
        self.drips: dict[str, bytes] = {}
        self.heads: list[str] = []
        self.names: list[str | None] = []
        """Those that TLS connections were made to."""
        self.closing = threading.Event()

    @property
    def paths(self) -> list[str]:
        """What was asked for, in order."""
        return [head.split()[1] for head in self.heads]

    def handle(self, stream: Any) -> None:
        """Answer one request."""
        head = b"".join(iter(stream.rfile.readline, b"\r\n"))
        if not head:
            return
        self.heads.append(head.decode())
        path = self.paths[-1]
        self.closing.wait(self.waits_s.get(path, 0))
        stream.wfile.write(self.answers.get(path, b""))
        while path in self.drips and not self.closing.wait(DRIP_S):
            stream.wfile.write(self.drips[path])


@contextmanager
def elsewhere(
    address: str = "127.0.0.1", port: int = 0, certificate: Path | None = None
) -> Iterator[Elsewhere]:
    """Run such a server, with TLS where there is a certificate."""

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            try:
                served.handle(self)
            except OSError:  # whoever asked has gone
                return

    class Server(socketserver.ThreadingTCPServer):
        daemon_threads = True
        allow_reuse_address = True
        request_queue_size = 128

        def get_request(self) -> Any:
            connection, peer = super().get_request()
            return (tls.wrap_socket(connection, server_side=True) if tls else connection), peer

        def handle_error(self, *_: Any) -> None:
            """A client that breaks off is no error here."""

    tls = _context(certificate) if certificate else None
    with Server((address, port), Handler) as server:
        served = Elsewhere(server.server_address[1])
        if tls:
            tls.sni_callback = lambda _connection, name, _context: served.names.append(name)
        thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        try:
            yield served
        finally:
            served.closing.set()
            server.shutdown()
            thread.join()


def write_certificate(path: Path, names: Sequence[str]) -> Path:
    """A certificate for some names, signed by itself, and its key, in one file."""
    how = "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=test"
    other = ",".join(f"DNS:{name}" for name in names)
    key = path.with_suffix(".key")
    files = ["-addext", f"subjectAltName={other}", "-keyout", str(key), "-out", str(path)]
    subprocess.run([*how.split(), *files], check=True, capture_output=True)
    path.write_bytes(path.read_bytes() + key.read_bytes())
    return path


def _context(certificate: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    return context
