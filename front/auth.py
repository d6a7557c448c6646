"""The authorization of requests by the scopes of a key, and their rate limit."""

from flask import Flask, request
from werkzeug.middleware.proxy_fix import ProxyFix

from common.errors import ConfigError, Forbidden
from common.internal_auth import is_beyond_loopback
from front.keys import Keys, Scope, check_scope
from front.rate_limit import RateLimiter

OPEN = ("/static/", "/docs", "/redoc", "/openapi.json", "/healthz", "/ready")
"""These and the page need no key: they tell nothing of the collection."""
PURGE = "/v1/cache"
"""This route is refused without a key, also on a server that has no keys."""


def scope_of(route: str) -> Scope | None:
    """The scope that a route needs; None if the route needs no key."""
    if route == "/" or route.startswith(OPEN):
        return None
    if route in (PURGE, "/metrics"):
        return "admin"
    return "images" if route.startswith("/v1/images/") else "search"


def authorize(app: Flask, keys: Keys, rates: RateLimiter | None, proxies: int) -> None:
    """Refuse requests without a key for their route or over the rate, before the body is read.

    `proxies` is how many proxies stand in front. They name the caller in X-Forwarded-For.
    """
    if proxies:
        app.wsgi_app = ProxyFix(app.wsgi_app, x_for=proxies, x_proto=0)  # type: ignore[method-assign]

    @app.before_request
    def admit() -> None:
        route = request.url_rule.rule if request.url_rule else "/"
        scope = scope_of(route)
        if scope is None or request.method == "OPTIONS":  # browsers send OPTIONS without a key
            return
        key = keys.find(request.headers.get("Authorization", ""))
        if rates:
            rates.acquire(f"key {key.name}" if key else request.remote_addr or "")
        if keys.are_on:
            check_scope(key, scope)
        elif route == PURGE:
            raise Forbidden(
                "this server takes no keys: whoever runs it can set Front.keys-file and make one"
            )


def check_exposure(address: str, keys: Keys, is_open: bool) -> None:
    """Raise ConfigError if other machines can reach a server that has no keys and is not open."""
    if not is_beyond_loopback(address) or is_open or keys.any():
        return
    raise ConfigError(
        f"Front.address {address} can be reached by others, and there is no key: set"
        " Front.keys-file and run python front/keys.py NAME --scope search --scope images;"
        " or set Front.open to let everybody ask"
    )
