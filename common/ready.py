"""Asking a service of ours whether it is ready, as whoever starts it does."""

import ssl
import subprocess
import time

import urllib3

from common.config import Front, Inference
from common.errors import ConfigError

READY_S = 120.0


def url_of(server: Front | Inference, *, encrypted: bool) -> str:
    """The address of a server."""
    return f"http{'s' if encrypted else ''}://{server.address}:{server.port}"


def wait_until_ready(
    name: str,
    server: str,
    process: subprocess.Popen[bytes],
    errors: list[str],
    within_s: float = READY_S,
    tls: ssl.SSLContext | None = None,
) -> None:
    """Wait until a server is ready; raises ConfigError with the reason when it is not.

    `errors` gets what services end with that cannot start: starting them again changes nothing.
    """
    reason = "it does not answer"
    deadline = time.monotonic() + within_s
    with urllib3.PoolManager(retries=False, timeout=5, ssl_context=tls) as http:
        while process.poll() is None and time.monotonic() < deadline and not errors:
            try:
                response = http.request("GET", f"{server}/ready")
            except urllib3.exceptions.HTTPError:
                time.sleep(0.1)
                continue
            if response.status == 200:
                return
            reason = response.json().get("detail", reason)
            time.sleep(0.2)
    raise ConfigError(errors[0] if errors else f"the {name} server is not ready: {reason}")


def unverified() -> ssl.SSLContext:
    """For asking our own front, whose certificate is for the name that others know it by."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context
