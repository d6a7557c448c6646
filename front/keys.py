"""Make an API key: python front/keys.py NAME --scope search [--config FILE]."""

import secrets
import sys
from pathlib import Path
from typing import get_args

if __package__ in (None, ""):  # run as a script: the checkout goes on the path, not this folder
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

import msgspec

from common.config import load
from common.errors import ConfigError
from common.files import replace_bytes
from common.keys import Key, Scope, hash_of, read_keys
from common.process import argument_parser, run

KEY_BYTES = 32
"""Random bytes of a key. Nobody can guess that many, so plain SHA-256 is enough to hide a key."""


def make_key(path: Path, name: str, scopes: tuple[Scope, ...]) -> str:
    """Make a key and add its hash to a file; raises ConfigError for a name that is taken.

    Also if the file cannot be written.
    """
    keys = read_keys(path)
    if name in [key.name for key in keys]:
        raise ConfigError(f"{path.name} has a key {name} already")
    key = secrets.token_urlsafe(KEY_BYTES)
    keys.append(Key(name, hash_of(key), scopes))
    try:
        replace_bytes(path, msgspec.json.format(msgspec.json.encode(keys)))
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from None
    return key


def main() -> None:
    """Make a key and print it; the file keeps only its hash."""
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
