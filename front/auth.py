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
READING = ("GET", "HEAD", "OPTIONS")
ALIVE = "/healthz"
"""Whether the process lives is told to whoever asks, however often."""


def scope_of(route: str, method: str) -> Scope | None:
    """The scope that a method of a route needs; None if it needs no key."""
    if route == "/" or route.startswith(OPEN):
        return None
    if route in (PURGE, "/metrics"):
        return "admin"
    if route.startswith("/v1/images") and method not in READING:
        return "write"
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
        scope = scope_of(route, request.method)
        if scope is None or request.method == "OPTIONS":  # browsers send OPTIONS without a key
            return
        if keys.are_on:
            check_scope(key, scope)
        if scope == "write" and _is_foreign(request.headers.get("Origin"), front):
            raise Forbidden(
                "a page of another site may change nothing here: whoever runs this server can list"
                " the site in Front.cors-origins"
            )
        if route == PURGE and not keys.are_on:
            raise Forbidden(
                "this server takes no keys: whoever runs it can set Front.keys-file and make one"
            )


def _is_foreign(origin: str | None, front: Front) -> bool:
    """Whether a page of another site asks: browsers send a form there without asking first."""
    if origin is None or origin in front.cors_origins:
        return False
    return origin.partition("://")[2] != request.host
