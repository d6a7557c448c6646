"""Who is answered inside."""

from pathlib import Path

import pytest
from flask import Flask

from common import config
from common.internal_auth import InternalAuth
from common.server.internal_auth import authorize
from common.server.service import create_service

TOKEN = "a-token-of-sixteen-characters"  # noqa: S105


def guarded(inside: InternalAuth, address: str) -> Flask:
    """A service with the routes that all have."""
    app = create_service("unit", lambda: None)
    authorize(app, inside, address)
    return app


@pytest.mark.parametrize(
    ("path", "header", "status"),
    [
        ("/metrics", f"Bearer {TOKEN}", 200),
        ("/metrics", f"Bearer {TOKEN}x", 401),
        ("/metrics", "", 401),
        ("/healthz", "", 200),
        ("/ready", "", 200),
    ],
)
def test_only_those_with_the_token_are_answered(
    tmp_path: Path, path: str, header: str, status: int
) -> None:
    """Whoever watches over the processes needs none."""
    (tmp_path / "token").write_text(TOKEN)
    app = guarded(InternalAuth(config.Inside(token_file="token"), tmp_path), "0.0.0.0")  # noqa: S106

    reply = app.test_client().get(path, headers={"Authorization": header})

    assert reply.status_code == status


@pytest.mark.parametrize(("address", "is_warned"), [("0.0.0.0", True), ("127.0.0.1", False)])
def test_an_address_that_others_reach_is_warned_of(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, address: str, is_warned: bool
) -> None:
    """Where there is neither a token nor a certificate."""
    guarded(InternalAuth(config.Inside(), tmp_path), address)

    assert ("ANSWERS WHOEVER REACHES IT" in caplog.text) == is_warned
