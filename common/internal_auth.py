"""What our services show each other: a token that they share, and certificates."""

import hmac
import ipaddress
import logging
import re
import ssl
from pathlib import Path

from common import config
from common.errors import ConfigError
from common.files import stamp_of
from common.tls import Tls, client_context, tls_of

log = logging.getLogger(__name__)

TOKEN = re.compile(r"[!-~]{16,}")


class InternalAuth:
    """How a service shows who it is to those behind it, and what it demands itself."""

    def __init__(self, files: config.Inside, root: Path) -> None:
        """Raises ConfigError for files that will not do."""
        self.tls: Tls | None = tls_of("Inside", root, files.tls_cert, files.tls_key, files.tls_ca)
        self.token = Token(root / files.token_file) if files.token_file else None

    def headers(self) -> dict[str, str]:
        """What a request to another service carries."""
        return {"Authorization": f"Bearer {self.token.read()}"} if self.token else {}

    def context(self) -> ssl.SSLContext | None:
        """What a connection to another service is encrypted with, if it is."""
        return client_context(self.tls) if self.tls else None


class Token:
    """A secret in a file, which is read again whenever it has changed."""

    def __init__(self, path: Path) -> None:
        """Raises ConfigError for a file that holds none."""
        self._path = path
        self._stamp = stamp_of(path)
        self._value = _read_token(path)

    def is_shown(self, authorization: str) -> bool:
        """Whether the header Authorization of a request shows the secret."""
        given = authorization.encode(errors="surrogateescape")
        return hmac.compare_digest(given, f"Bearer {self.read()}".encode())

    def read(self) -> str:
        """The secret."""
        stamp = stamp_of(self._path)
        if stamp != self._stamp:
            try:
                self._value, self._stamp = _read_token(self._path), stamp
            except ConfigError as error:
                log.warning("the token stays as it was: %s", error)
        return self._value


def is_beyond_loopback(address: str) -> bool:
    """Whether a server that listens on an address can be reached from other machines."""
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
