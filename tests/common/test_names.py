"""Names, asked of the system; and the name in a server's certificate."""

import asyncio
import ssl
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from common import config
from common.errors import ServiceError
from common.http_client import HttpClient, Request
from common.internal_auth import InternalAuth
from common.names import Names, resolve
from common.tls import server_context
from common.upstream import Upstream
from devtools.certificates import Authority
from devtools.services import CHECKOUT
from tests.fake_server import Quiet, answering

SILENT = """
import asyncio, socket, time
from common.names import Names
socket.getaddrinfo = lambda *_, **__: time.sleep(600)

async def main():
    names = Names()
    print(await names.first("middle"))
    await names.close()

asyncio.run(main())
"""


def test_the_system_tells_the_addresses_of_a_name() -> None:
    """What it does not know, and what is no name, is an OSError."""
    assert "127.0.0.1" in asyncio.run(resolve("localhost"))
    for unknown in ("nobody.invalid", "x" * 70 + ".invalid"):
        with pytest.raises(OSError, match=unknown):
            asyncio.run(resolve(unknown))


def test_a_silent_name_server_keeps_no_process_alive() -> None:
    """Though the system's question, which has no deadline, is still under way."""
    done = subprocess.run(
        [sys.executable, "-c", SILENT],
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )

    assert "()" == done.stdout.strip()


class Hello(Quiet):
    """Answers every request, over TLS."""

    context: ssl.SSLContext

    def setup(self) -> None:
        self.request = self.context.wrap_socket(self.request, server_side=True)
        super().setup()

    def finish(self) -> None:
        super().finish()
        self.request.close()

    def do_GET(self) -> None:  # noqa: N802
        self.send_response(200)
        self.send_header("Content-Length", "5")
        self.end_headers()
        self.wfile.write(b"hello")


def test_a_certificate_is_checked_for_the_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not for the address that is connected to, though that is what a replica is known by."""
    authority = Authority(tmp_path)
    files = {
        name: config.Inside(
            tls_cert=str(authority.issue(name, f"{name}.test")), tls_ca=str(authority.file)
        )
        for name in ("middle", "other")
    }
    served = InternalAuth(files["middle"], tmp_path)
    assert served.tls
    monkeypatch.setattr(Hello, "context", server_context(served.tls), raising=False)

    async def here(_name: str) -> Sequence[str]:
        return ["127.0.0.1"]

    async def ask(name: str, port: str) -> bytes:
        http = HttpClient(InternalAuth(files["other"], tmp_path))
        http.names = Names(here)
        service = Upstream("test", [f"dns:{name}.test:{port}"], http)
        deadline = asyncio.get_running_loop().time() + 20
        try:
            return await service.ask(Request("GET", "/"), deadline, lambda reply: reply.body)
        finally:
            await service.close()
            await http.close()

    with answering(Hello) as address:
        port = address.rpartition(":")[2]
        assert b"hello" == asyncio.run(ask("middle", port))
        with pytest.raises(ServiceError, match="cannot be reached"):
            asyncio.run(ask("other", port))
