"""Waiting for a service that was started: it is ready, it ends, or it says why not."""

import ssl
import subprocess
from typing import cast

import pytest

from common.config import Front, Inference
from common.errors import ConfigError
from common.ready import unverified, url_of, wait_until_ready


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


def test_our_own_front_is_asked_whatever_its_certificate_says() -> None:
    """It is for the name that others know it by."""
    assert unverified().verify_mode == ssl.CERT_NONE
