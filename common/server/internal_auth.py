"""The check of the token that our services share, for each request to an inner service."""

import logging

from flask import Flask, request

from common.errors import Unauthorized
from common.internal_auth import InternalAuth, Token, is_beyond_loopback

log = logging.getLogger(__name__)

OPEN = ("/healthz", "/ready")
"""Routes without a token, for health checks."""


def authorize(app: Flask, inside: InternalAuth, address: str) -> None:
    """Refuse requests without the token; warn if strangers can reach a server without checks."""
    if inside.token:
        _demand(app, inside.token)
    elif is_beyond_loopback(address) and not (inside.tls and inside.tls.ca):
        log.warning(
            "%s listens on %s and ANSWERS WHOEVER REACHES IT: set Inside.token-file or"
            " Inside.tls-ca, or keep it in a network of its own (docs/security.md)",
            app.name,
            address,
        )


def _demand(app: Flask, token: Token) -> None:
    @app.before_request
    def check() -> None:
        if request.path in OPEN:
            return
        if not token.is_shown(request.headers.get("Authorization", "")):
            log.warning("%s asks without the token", request.remote_addr)
            raise Unauthorized("this server answers only those who have its token")
