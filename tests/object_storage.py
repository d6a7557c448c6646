"""An S3 server on loopback, behind a proxy with the faults of networks."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import pytest
from urllib3.exceptions import HTTPError

from devtools.fault_proxy import Proxy, proxied
from devtools.services import free_ports, http, wait_until

BUCKET = "versions"


@dataclass
class Storage:
    """A bucket. What is asked of it passes the proxy."""

    proxy: Proxy
    process: subprocess.Popen[bytes]

    def url(self, prefix: str) -> str:
        """The URL of a part of the bucket."""
        return f"s3://{BUCKET}/{prefix}"


@contextmanager
def object_storage(folder: Path) -> Iterator[Storage]:
    """Run moto, and have obstore in this process and in all that it starts ask it.

    Without moto the test is skipped, or fails under CI=true.
    """
    if not (find_spec("moto") and find_spec("obstore")):
        absent = pytest.fail if os.environ.get("CI") == "true" else pytest.skip
        absent("moto or obstore is not installed (requirements-dev.txt)")
    port = free_ports(1)[0]
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    with (folder / "moto.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        with proxied(f"127.0.0.1:{port}") as proxy, pytest.MonkeyPatch.context() as patch:
            wait_until(lambda: _makes_bucket(port))
            patch.setenv("AWS_ENDPOINT_URL", f"http://{proxy.address}")
            patch.setenv("AWS_REGION", "us-east-1")
            patch.setenv("AWS_ACCESS_KEY_ID", "anybody")
            patch.setenv("AWS_SECRET_ACCESS_KEY", "anything")
            yield Storage(proxy, process)
    finally:
        process.kill()
        process.wait()


def _makes_bucket(port: int) -> bool:
    try:
        return http.request("PUT", f"http://127.0.0.1:{port}/{BUCKET}").status == 200
    except HTTPError:
        return False
