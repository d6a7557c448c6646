"""TLS: the contexts that our servers and clients speak it with, made anew when a file changes."""

import socket
import ssl
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

from common.errors import ConfigError
from common.files import stamp_of

HANDSHAKE_S = 10.0  # of a client, which holds one of a server's threads meanwhile


class Tls(NamedTuple):
    """The files of a service: its certificates, their key, and whom it believes."""

    cert: Path
    key: Path | None
    """None: it is in the same file."""
    ca: Path | None = None
    """What others' certificates must be signed with, servers' and clients'."""


def tls_of(
    section: str, root: Path, cert: str | None, key: str | None, ca: str | None = None
) -> Tls | None:
    """The TLS of a section of config.json; raises ConfigError for files that will not do."""
    if cert is None:
        for name, file in (("tls-key", key), ("tls-ca", ca)):
            if file is not None:
                raise ConfigError(f"config: {section}.{name} is nothing without tls-cert")
        return None
    tls = Tls(root / cert, root / key if key else None, root / ca if ca else None)
    try:
        server_context(tls)
    except (OSError, ValueError) as error:
        raise ConfigError(f"the files of {section}.tls-cert, tls-key, tls-ca: {error}") from None
    return tls


def server_context(tls: Tls) -> ssl.SSLContext:
    """For those who serve; with a CA only clients with a certificate of its are let in."""
    return _server_context(tls, _stamps(tls))


def client_context(tls: Tls) -> ssl.SSLContext:
    """For those who ask; servers are believed by the CA, or by the system's where none is named."""
    return _client_context(tls, _stamps(tls))


class _Server(ssl.SSLContext):
    """Gives up on a client that does not finish its handshake."""

    def wrap_socket(self, sock: socket.socket, *given: Any, **named: Any) -> ssl.SSLSocket:
        sock.settimeout(HANDSHAKE_S)
        try:
            wrapped = super().wrap_socket(sock, *given, **named)
        except TimeoutError:
            raise ssl.SSLError(ssl.SSL_ERROR_EOF, "the handshake took too long") from None
        wrapped.settimeout(None)
        return wrapped


@lru_cache(maxsize=4)
def _server_context(tls: Tls, _stamps: tuple[Any, ...]) -> ssl.SSLContext:
    context = _Server(ssl.PROTOCOL_TLS_SERVER)
    if tls.ca:
        context.verify_mode = ssl.CERT_REQUIRED
    return _with_files(context, tls)


@lru_cache(maxsize=4)
def _client_context(tls: Tls, _stamps: tuple[Any, ...]) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # which checks certificate and name
    if tls.ca is None:
        context.load_default_certs()
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        return context
    return _with_files(context, tls)


def _with_files(context: ssl.SSLContext, tls: Tls) -> ssl.SSLContext:
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    # an empty password, or it would ask for one on the terminal
    context.load_cert_chain(tls.cert, tls.key, password=str)
    if tls.ca:
        context.load_verify_locations(tls.ca)
    return context


def _stamps(tls: Tls) -> tuple[Any, ...]:
    return tuple(stamp_of(file) for file in tls if file)
