"""The key that TorchServe asks for, in the file that it writes anew at each start."""

import logging
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

import msgspec

from common.errors import ServiceError, Unavailable

log = logging.getLogger(__name__)

Result = TypeVar("Result")


class _Entry(msgspec.Struct):
    key: str


class _File(msgspec.Struct):
    inference: _Entry


class Token:
    """The inference key of a key_file.json, or none where the server wants none."""

    def __init__(self, path: Path | None) -> None:
        """The file is not read before the key is wanted: TorchServe may start after us."""
        self._path = path
        self._headers: dict[str, str] = {}

    async def use(self, ask: Callable[[dict[str, str]], Awaitable[Result]]) -> Result:
        """What `ask` returns, given the headers that carry the key.

        The file is read again when the key is refused. Raises what `ask` does, and Unavailable
        when there is no key or the server does not take it.
        """
        headers, refused = self._headers or self._read(), None
        while headers != refused:
            try:
                return await ask(headers)
            except ServiceError as error:
                if not _is_refusal(error):
                    raise
            headers, refused = self._read(), headers
        log.warning("the inference server refuses the key: see Inference.key-file")
        raise Unavailable("the server that embeds refuses our key")

    def _read(self) -> dict[str, str]:
        if self._path:
            self._headers = {"Authorization": f"Bearer {_read_key(self._path)}"}
        return self._headers


def _is_refusal(error: ServiceError) -> bool:
    """Whether it is a 400 in TorchServe's words, not a problem of ours: only a key brings one."""
    return error.status in (400, 401, 403) and error.code == ServiceError.code


def _read_key(path: Path) -> str:
    try:
        return msgspec.json.decode(path.read_bytes(), type=_File).inference.key
    except (OSError, msgspec.DecodeError, UnicodeDecodeError) as error:
        log.warning("Inference.key-file: %s", error)
        raise Unavailable("there is no key for the server that embeds") from None
