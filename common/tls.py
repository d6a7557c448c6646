"""The TLS contexts of our servers and clients, made again when a certificate file changes."""

import logging
import socket
import ssl
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from common.errors import ConfigError
from common.files import stamp_of

log = logging.getLogger(__name__)

HANDSHAKE_S = 10.0  # a handshake occupies a thread of the server
AGAIN_S = 5.0
"""New files that are not valid are read again after this time."""
DECRYPT = "openssl pkey -in KEY -out NEW writes a key without a password"


class Tls(NamedTuple):
    """The certificate files of a service."""

    cert: Path
    key: Path | None
    """None: `cert` has the key, too."""
    ca: Path | None = None
    """The CA that must have signed the certificates of other servers and clients."""
    password_file: Path | None = None

    def password(self) -> str:
        """The password of an encrypted key; raises OSError, and ValueError without a file."""
        if self.password_file is None:
            raise ValueError(
                "the key is encrypted: set tls-key-password-file beside tls-key to the file of its"
                f" password; else {DECRYPT}"
            )
        return self.password_file.read_text("utf-8").rstrip("\r\n")


Make = Callable[[Tls], ssl.SSLContext]


class _Valid(NamedTuple):
    stamps: tuple[Any, ...]
    context: ssl.SSLContext
    again_at: float = 0.0
    """When files that were not valid are read again, by the monotonic clock."""


_valid: dict[tuple[Make, Tls], _Valid] = {}
"""The last valid context of each server and client of this process."""


def tls_of(
    section: str,
    root: Path,
    cert: str | None,
    key: str | None,
    ca: str | None = None,
    password_file: str | None = None,
) -> Tls | None:
    """The TLS of a section of config.json; raises ConfigError for missing or invalid files."""
    if cert is None:
        for name, file in (
            ("tls-key", key),
            ("tls-ca", ca),
            ("tls-key-password-file", password_file),
        ):
            if file is not None:
                raise ConfigError(f"config: {section}.{name} is nothing without tls-cert")
        return None
    tls = Tls(root / cert, *(root / file if file else None for file in (key, ca, password_file)))
    try:
        server_context(tls)
    except (OSError, ValueError) as error:
        raise ConfigError(f"the files of {section}.tls-cert, tls-key, tls-ca: {error}") from None
    return tls


def server_context(tls: Tls) -> ssl.SSLContext:
    """The context of a server. With a CA, clients need a certificate of that CA.

    Raises OSError and ValueError for invalid files. Once there is a context, it stays until new
    files are valid: a certificate and its key are not replaced at one moment.
    """
    return _context(_server_context, tls)


def client_context(tls: Tls) -> ssl.SSLContext:
    """The same of a client, which trusts `tls.ca`, or the CAs of the system if that is None."""
    return _context(_client_context, tls)


def _context(make: Make, tls: Tls) -> ssl.SSLContext:
    stamps, now = _stamps(tls), time.monotonic()
    valid = _valid.get((make, tls))
    if valid is None or (valid.stamps != stamps and now >= valid.again_at):
        try:
            valid = _Valid(stamps, make(tls))
        except (OSError, ValueError) as error:
            if valid is None:
                raise
            log.warning("the former certificate stays in use: %s: %s", tls.cert, error)
            valid = valid._replace(again_at=now + AGAIN_S)
        _valid[make, tls] = valid
    return valid.context


class _Server(ssl.SSLContext):
    """Ends a handshake that takes longer than HANDSHAKE_S."""

    def wrap_socket(self, sock: socket.socket, *given: Any, **named: Any) -> ssl.SSLSocket:
        sock.settimeout(HANDSHAKE_S)
        try:
            wrapped = super().wrap_socket(sock, *given, **named)
        except TimeoutError:
            raise ssl.SSLError(ssl.SSL_ERROR_EOF, "the handshake took too long") from None
        wrapped.settimeout(None)
        return wrapped


def _server_context(tls: Tls) -> ssl.SSLContext:
    context = _Server(ssl.PROTOCOL_TLS_SERVER)
    if tls.ca:
        context.verify_mode = ssl.CERT_REQUIRED
    return _with_files(context, tls)


def _client_context(tls: Tls) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # checks certificate and host name
    if tls.ca is None:
        context.load_default_certs()
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        return context
    return _with_files(context, tls)


def _with_files(context: ssl.SSLContext, tls: Tls) -> ssl.SSLContext:
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:  # OpenSSL asks for the password of an encrypted key alone
        context.load_cert_chain(tls.cert, tls.key, password=tls.password)
    except ssl.SSLError as error:
        if tls.password_file is None or error.reason:
            raise
        raise ValueError(
            "the password in tls-key-password-file is wrong, or a file is not PEM"
        ) from None
    if tls.ca:
        context.load_verify_locations(tls.ca)
    return context


def _stamps(tls: Tls) -> tuple[Any, ...]:
    return tuple(stamp_of(file) for file in tls if file)
