"""The authorization of requests by the scopes of a key, and their rate limit."""

from flask import Flask, request
from werkzeug.middleware.proxy_fix import ProxyFix

from common.config import Front
from common.errors import Forbidden, Misdirected
from common.hosts import Hosts
from common.keys import Keys, Scope, check_scope
from common.rate_limit import RateLimiter

OPEN = ("/static/", "/docs", "/redoc", "/openapi.json", "/healthz", "/ready")
"""These and the page need no key: they tell nothing of the collection."""
PURGE = "/v1/cache"
"""This route is refused without a key, also on a server that has no keys."""
ALIVE = "/healthz"
"""Whether the process lives is told to whoever asks, however often."""


def scope_of(route: str) -> Scope | None:
    """The scope that a route needs; None if the route needs no key."""
    if route == "/" or route.startswith(OPEN):
        return None
    if route in (PURGE, "/metrics"):
        return "admin"
    return "images" if route.startswith("/v1/images/") else "search"


def authorize(app: Flask, keys: Keys, rates: RateLimiter | None, front: Front) -> None:
    """Refuse requests for another host, over the rate, or without a key for their route.

    All that is before the body is read.
    """
    hosts = Hosts(front.bound[0], front.hosts, has_keys=keys.are_on)
    if front.proxies:  # they name the caller in X-Forwarded-For
        app.wsgi_app = ProxyFix(  # type: ignore[method-assign]
            app.wsgi_app, x_for=front.proxies, x_proto=0
        )

    @app.before_request
    def admit() -> None:
        route = request.url_rule.rule if request.url_rule else "/"
        if route == ALIVE:
            return
        if not hosts.have(request.headers.get("Host")):
            raise Misdirected(
                "this server does not answer for that host: whoever runs it can list the name in"
                " Front.hosts"
            )
        key = keys.find(request.headers.get("Authorization", ""))
        if rates:
            rates.acquire(f"key {key.name}" if key else request.remote_addr or "")
        scope = scope_of(route)
        if scope is None or request.method == "OPTIONS":  # browsers send OPTIONS without a key
            return
        if keys.are_on:
            check_scope(key, scope)
        elif route == PURGE:
            raise Forbidden(
                "this server takes no keys: whoever runs it can set Front.keys-file and make one"
            )
