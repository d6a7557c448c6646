"""Authentication between our services: a shared token, and certificates."""

import hmac
import ipaddress
import logging
import re
import ssl
from functools import lru_cache
from pathlib import Path

from common import config
from common.errors import ConfigError
from common.files import stamp_of
from common.tls import Tls, client_context, tls_of

log = logging.getLogger(__name__)

TOKEN = re.compile(r"[!-~]{16,}")


class InternalAuth:
    """The token and the certificates that a service sends, and demands of its callers."""

    def __init__(self, files: config.Inside, root: Path) -> None:
        """Raises ConfigError for files that are missing or invalid."""
        tls = files.tls_cert, files.tls_key, files.tls_ca, files.tls_key_password_file
        self.tls: Tls | None = tls_of("Inside", root, *tls)
        self.token = Token(root / files.token_file) if files.token_file else None

    def headers(self) -> dict[str, str]:
        """The headers for a request to another service."""
        return {"Authorization": f"Bearer {self.token.read()}"} if self.token else {}

    def context(self) -> ssl.SSLContext | None:
        """The TLS context for a connection to another service; None without TLS."""
        return client_context(self.tls) if self.tls else None


class Token:
    """A secret in a file; a changed file is read again."""

    def __init__(self, path: Path) -> None:
        """Raises ConfigError if the file has no valid token."""
        self._path = path
        self._stamp = stamp_of(path)
        self._value = _read_token(path)

    def is_shown(self, authorization: str) -> bool:
        """Whether a request's Authorization header has the secret."""
        given = authorization.encode(errors="surrogateescape")
        return hmac.compare_digest(given, f"Bearer {self.read()}".encode())

    def read(self) -> str:
        """The secret; an invalid new file leaves the secret as it was."""
        stamp = stamp_of(self._path)
        if stamp != self._stamp:
            try:
                self._value, self._stamp = _read_token(self._path), stamp
            except ConfigError as error:
                log.warning("the token stays as it was: %s", error)
        return self._value


@lru_cache(256)  # each request to a server without keys names a host
def is_beyond_loopback(address: str) -> bool:
    """Whether other machines can reach a server that listens on this address."""
    try:
        return not ipaddress.ip_address(address).is_loopback
    except ValueError:
        return address != "localhost"


def _read_token(path: Path) -> str:
    try:
        token = path.read_text("ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"Inside.token-file {path.name}: {error}") from None
    if not TOKEN.fullmatch(token):
        raise ConfigError(
            f"Inside.token-file {path.name}: it must hold one word of at least 16 characters;"
            f' python -c "import secrets; print(secrets.token_urlsafe())" > {path.name} makes one'
        )
    return token
