"""Waiting until a started service is ready."""

import ssl
import subprocess
import time

import urllib3

from common.addresses import join_address
from common.config import Front, Inference
from common.errors import ConfigError

READY_S = 120.0
LOCAL = {"Host": "localhost"}
"""A name that front and gateway answer for, whatever `hosts` says."""


def url_of(server: Front | Inference, *, encrypted: bool) -> str:
    """The URL of a server."""
    return f"http{'s' if encrypted else ''}://{join_address(server.address, server.port)}"


def wait_until_ready(
    name: str,
    server: str,
    process: subprocess.Popen[bytes],
    errors: list[str],
    within_s: float = READY_S,
    tls: ssl.SSLContext | None = None,
) -> None:
    """Wait until a server is ready; raises ConfigError with the reason if it does not become ready.

    `errors` collects the last lines of services that cannot start. The first such line ends the
    wait, since a restart would not help.
    """
    reason = "it does not answer"
    deadline = time.monotonic() + within_s
    with urllib3.PoolManager(retries=False, timeout=5, ssl_context=tls) as http:
        while process.poll() is None and time.monotonic() < deadline and not errors:
            try:
                response = http.request("GET", f"{server}/ready", headers=LOCAL)
            except urllib3.exceptions.HTTPError:
                time.sleep(0.1)
                continue
            if response.status == 200:
                return
            reason = response.json().get("detail", reason)
            time.sleep(0.2)
    raise ConfigError(errors[0] if errors else f"the {name} server is not ready: {reason}")


def unverified() -> ssl.SSLContext:
    """A context without checks, for our own front: its certificate is for its public name."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context
