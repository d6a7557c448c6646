"""The inference key of TorchServe, in the file that TorchServe rewrites at each start."""

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
    """The inference key in a key_file.json. Without a file, requests carry no key."""

    def __init__(self, path: Path | None) -> None:
        """The first request reads the file, because TorchServe may start after this process."""
        self._path = path
        self._headers: dict[str, str] = {}

    async def use(self, ask: Callable[[dict[str, str]], Awaitable[Result]]) -> Result:
        """Call `ask` with the headers that carry the key; returns the result of `ask`.

        If the server refuses the key, the file is read again and a new key is tried. Raises the
        errors of `ask`, and Unavailable if the file has no key or the server refuses that key.
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
    """Whether TorchServe refused the key. Only a refusal has such a status and no code of ours."""
    return error.status in (400, 401, 403) and error.code == ServiceError.code


def _read_key(path: Path) -> str:
    try:
        return msgspec.json.decode(path.read_bytes(), type=_File).inference.key
    except (OSError, msgspec.DecodeError, UnicodeDecodeError) as error:
        log.warning("Inference.key-file: %s", error)
        raise Unavailable("there is no key for the server that embeds") from None
