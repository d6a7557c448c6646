"""The API keys of front and the gateway: a file with their hashes. front/keys.py makes them."""

import hmac
import logging
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path
from typing import Literal

import msgspec

from common.errors import ConfigError, Forbidden, Unauthorized
from common.files import stamp_of
from common.internal_auth import is_beyond_loopback

log = logging.getLogger(__name__)

Scope = Literal["search", "images", "write", "admin"]
SCHEME = "bearer"


class Key(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A key in the file: whose it is, its SHA-256 in hex, and its scopes."""

    name: str
    sha256: str
    scopes: tuple[Scope, ...]


class Keys:
    """The keys in a file. The file is read again after each change."""

    def __init__(self, path: Path | None) -> None:
        """With `path` None, no request needs a key. Raises ConfigError for a bad file."""
        self._path = path
        self._stamp = stamp_of(path) if path else (0, 0)
        self._keys = read_keys(path) if path else []

    @property
    def are_on(self) -> bool:
        """Whether requests need a key; they do also while the file is empty."""
        return self._path is not None

    def any(self) -> bool:
        """Whether there is any key."""
        return bool(self._keys)

    def find(self, authorization: str) -> Key | None:
        """The known key in the header Authorization, if there is one."""
        if self._path is None:
            return None
        self._refresh(self._path)
        scheme, _, given = authorization.partition(" ")
        return find_key(self._keys, given.strip()) if scheme.lower() == SCHEME else None

    def check(self, authorization: str, scope: Scope) -> None:
        """Raise Unauthorized or Forbidden unless the key in the header has a scope.

        Where no request needs a key, that is well.
        """
        if self.are_on:
            check_scope(self.find(authorization), scope)

    def _refresh(self, path: Path) -> None:
        stamp = stamp_of(path)
        if stamp == self._stamp:
            return
        try:
            self._keys, self._stamp = read_keys(path), stamp
        except ConfigError as error:
            log.warning("the keys stay as they were: %s", error)


def check_scope(key: Key | None, scope: Scope) -> None:
    """Raise Unauthorized if there is no key, Forbidden if the key lacks the scope."""
    if key is None:
        raise Unauthorized("send a valid key: Authorization: Bearer KEY")
    if scope not in key.scopes:
        raise Forbidden(f"this key is not good for {scope}")


def check_exposure(
    section: Literal["Front", "Gateway"],
    address: str,
    keys: Keys,
    is_open: bool,
    scopes: Sequence[Scope],
) -> None:
    """Raise ConfigError if other machines can reach a server that has no keys and is not open.

    `scopes` are those that a key for it needs.
    """
    if not is_beyond_loopback(address) or is_open or keys.any():
        return
    options = " ".join(f"--scope {scope}" for scope in scopes)
    raise ConfigError(
        f"{section} listens on {address}, which others can reach, and there is no key: set"
        f" Front.keys-file and run python front/keys.py NAME {options};"
        f" or set {section}.open to let everybody ask"
    )


def find_key(keys: list[Key], given: str) -> Key | None:
    """The known key that equals `given`. The time of the search tells nothing of the keys."""
    digest = hash_of(given)
    found = None
    for key in keys:
        if hmac.compare_digest(key.sha256.encode(), digest.encode()):
            found = key
    return found


def hash_of(key: str) -> str:
    """The SHA-256 of a key in hex: all that is stored of a key."""
    return sha256(key.encode(errors="surrogateescape")).hexdigest()


def read_keys(path: Path) -> list[Key]:
    """The keys in a file, none if there is no file; raises ConfigError."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=list[Key])
    except FileNotFoundError:
        return []
    except (OSError, msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"Front.keys-file {path.name}: {error}") from None
