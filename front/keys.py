"""Keys for those who may ask: python front/keys.py NAME --scope search [--config FILE]."""

import hmac
import logging
import secrets
import sys
from hashlib import sha256
from pathlib import Path
from typing import Literal, get_args

if __package__ in (None, ""):  # run as a script: the checkout goes on the path, not this folder
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

import msgspec

from common.config import load
from common.errors import ConfigError, Forbidden, Unauthorized
from common.files import replace_bytes, stamp_of
from common.process import argument_parser, run

log = logging.getLogger(__name__)

Scope = Literal["search", "images", "admin"]
KEY_BYTES = 32
"""From the system's random source: nobody guesses them, so a plain SHA-256 hides them."""
SCHEME = "bearer"


class Key(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Somebody's key: its SHA-256 in hex, and what it is good for."""

    name: str
    sha256: str
    scopes: tuple[Scope, ...]


class Keys:
    """The keys in a file, which is read again whenever it has changed."""

    def __init__(self, path: Path | None) -> None:
        """None: nobody needs a key. Raises ConfigError for a file that is none of keys."""
        self._path = path
        self._stamp = stamp_of(path) if path else (0, 0)
        self._keys = read_keys(path) if path else []

    @property
    def are_on(self) -> bool:
        """Whether who has no key is refused, which is so with an empty file too."""
        return self._path is not None

    def any(self) -> bool:
        """Whether there is a key at all."""
        return bool(self._keys)

    def find(self, authorization: str) -> Key | None:
        """The key in the header Authorization; None when it has none of ours."""
        if self._path is None:
            return None
        self._refresh(self._path)
        scheme, _, given = authorization.partition(" ")
        return find_key(self._keys, given.strip()) if scheme.lower() == SCHEME else None

    def _refresh(self, path: Path) -> None:
        stamp = stamp_of(path)
        if stamp == self._stamp:
            return
        try:
            self._keys, self._stamp = read_keys(path), stamp
        except ConfigError as error:
            log.warning("the keys stay as they were: %s", error)


def check_scope(key: Key | None, scope: Scope) -> None:
    """Raise Unauthorized where there is no key, Forbidden where it is not good for a scope."""
    if key is None:
        raise Unauthorized("send a valid key: Authorization: Bearer KEY")
    if scope not in key.scopes:
        raise Forbidden(f"this key is not good for {scope}")


def find_key(keys: list[Key], given: str) -> Key | None:
    """The key that was given, in a time that does not tell how near it was to one."""
    digest = hash_of(given)
    found = None
    for key in keys:
        if hmac.compare_digest(key.sha256.encode(), digest.encode()):
            found = key
    return found


def hash_of(key: str) -> str:
    """What is kept of a key."""
    return sha256(key.encode(errors="surrogateescape")).hexdigest()


def read_keys(path: Path) -> list[Key]:
    """The keys in a file, none where there is no file; raises ConfigError."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=list[Key])
    except FileNotFoundError:
        return []
    except (OSError, msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"Front.keys-file {path.name}: {error}") from None


def make_key(path: Path, name: str, scopes: tuple[Scope, ...]) -> str:
    """A new key, whose hash is added to a file; raises ConfigError for a name that is taken."""
    keys = read_keys(path)
    if name in [key.name for key in keys]:
        raise ConfigError(f"{path.name} has a key {name} already")
    key = secrets.token_urlsafe(KEY_BYTES)
    keys.append(Key(name, hash_of(key), scopes))
    replace_bytes(path, msgspec.json.format(msgspec.json.encode(keys)))
    return key


def main() -> None:
    """Make a key and print it, this once."""
    parser = argument_parser(__doc__)
    parser.add_argument("name", metavar="NAME", help="whose key it is")
    parser.add_argument("--scope", action="append", required=True, choices=get_args(Scope))
    arguments = parser.parse_args()
    loaded = load(arguments.config)
    if loaded.config.front.keys_file is None:
        raise ConfigError('config: set Front.keys-file first, "keys.json" for example')
    path = loaded.path(loaded.config.front.keys_file)
    print(make_key(path, arguments.name, tuple(arguments.scope)))


if __name__ == "__main__":
    run(main)
