"""Waiting for a service that was started: it is ready, it ends, or it says why not."""

import ssl
import subprocess
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import cast

import pytest

from common.config import Front, Gateway, Inference
from common.errors import ConfigError
from common.hosts import Hosts
from common.ready import unverified, url_of, wait_until_ready
from common.supervisor import client_url, http_url


class Ended:
    """A process that is no more."""

    def poll(self) -> int:
        return 1


class Running:
    """A process that runs."""

    def poll(self) -> None:
        return None


def test_the_address_of_a_server() -> None:
    """Encrypted or not."""
    assert url_of(Front(), encrypted=False) == "http://127.0.0.1:8000"
    assert url_of(Inference(), encrypted=True) == "https://127.0.0.1:8080"
    assert url_of(Front(address="::1"), encrypted=False) == "http://[::1]:8000"
    gateway = Gateway(address="::1")
    assert http_url(gateway) == f"http://[::1]:{gateway.http_port}"
    assert client_url(gateway) == f"grpc://[::1]:{gateway.port}"


def test_a_process_that_ended_is_not_waited_for() -> None:
    """It never answered."""
    process = cast("subprocess.Popen[bytes]", Ended())
    with pytest.raises(ConfigError, match="the middle server is not ready: it does not answer"):
        wait_until_ready("middle", "http://127.0.0.1:1", process, [])


def test_what_a_service_ended_with_is_the_reason() -> None:
    """The first of them: starting it again changes nothing."""
    process = cast("subprocess.Popen[bytes]", Running())
    with pytest.raises(ConfigError, match="no such model"):
        wait_until_ready("middle", "http://127.0.0.1:1", process, ["no such model", "other"])


def test_a_server_is_asked_by_a_name_that_it_answers_for() -> None:
    """Whatever address it listens on, and whatever `Front.hosts` says."""
    asked: list[str | None] = []

    class Ready(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.headers["Host"])
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Ready) as server:
        threading.Thread(target=server.handle_request, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}"
        wait_until_ready("front", url, cast("subprocess.Popen[bytes]", Running()), [])

    assert ["localhost"] == asked
    assert Hosts("0.0.0.0", ["photos.example"], has_keys=False).have(asked[0])


def test_our_own_front_is_asked_whatever_its_certificate_says() -> None:
    """It is for the name that others know it by."""
    assert unverified().verify_mode == ssl.CERT_NONE
