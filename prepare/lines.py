"""Files of JSON lines: a message in each line."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from common.errors import ConfigError
from common.files import replace_bytes
from common.wire import UNREADABLE

Line = TypeVar("Line")


def lines_of(messages: Iterable[Any]) -> bytes:
    """Messages as lines."""
    return msgspec.json.Encoder().encode_lines(list(messages))


def write_lines(path: Path, lines: Iterable[Any]) -> None:
    """Write a file with these lines."""
    path.write_bytes(lines_of(lines))


def replace_lines(path: Path, lines: Iterable[Any]) -> None:
    """Replace a file by one with these lines, in one step."""
    replace_bytes(path, lines_of(lines))


def read_lines(path: Path, kind: type[Line], begin: int = 0) -> list[Line]:
    """The lines of a file from a byte on, but for an unfinished last line; raises ConfigError."""
    try:
        data = path.read_bytes()
        return msgspec.json.Decoder(kind).decode_lines(data[begin : data.rfind(b"\n") + 1])
    except FileNotFoundError:
        raise ConfigError(f"{path} is missing") from None
    except UNREADABLE as error:
        raise ConfigError(f"{path} cannot be read: {error}") from None
