"""The log in a Redis stream, for several machines."""

import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import RedisError, WatchError
from redis.retry import Retry

from common.wire import encode
from search.log import Entries, Entry, LogMoved, decoded, log_unavailable

STREAM = "clip-search:log"
ID = "clip-search:log-id"
FIELD = b"entry"
TIMEOUT_S = 5.0
"""Of a command; an append waits for the disk."""
NEEDED = {"appendonly": "yes", "appendfsync": "always", "maxmemory-policy": "noeviction"}
"""Settings without which Redis may lose what it has acknowledged."""


class RedisLog:
    """A `log.Log` in Redis 7.0 or later, whose own numbers 0-1, 0-2, ... are the positions."""

    def __init__(self, url: str) -> None:
        self._client = Redis.from_url(
            url,
            socket_timeout=TIMEOUT_S,
            socket_connect_timeout=TIMEOUT_S,
            retry=Retry(NoBackoff(), 0),  # else an entry may be there twice
        )
        self._is_checked = False

    def id(self) -> str:
        """See `log.Log`."""
        with self._asking() as client:
            return (client.get(ID) or b"").decode()

    def start(self) -> int:
        """See `log.Log`."""
        info = self._info()
        first = info.get("first-entry")
        return _position(first[0]) - 1 if first else _end(info)

    def end(self) -> int:
        """See `log.Log`."""
        return _end(self._info())

    def append(self, entries: Sequence[Entry], after: int | None = None) -> int:
        """See `log.Log`."""
        with self._asking() as client, client.pipeline(transaction=True) as pipeline:
            if after is not None:
                pipeline.watch(STREAM)
                if self.end() != after:
                    raise LogMoved
                pipeline.multi()
            pipeline.set(ID, secrets.token_hex(8), nx=True)
            for entry in entries:
                pipeline.xadd(STREAM, {FIELD: encode(entry)}, id="0-*")
            try:
                return _position(pipeline.execute()[-1])
            except WatchError:
                raise LogMoved from None

    def read(self, after: int, limit: int) -> Entries:
        """See `log.Log`."""
        end = self.end()
        with self._asking() as client:
            found = client.xrange(STREAM, f"(0-{after}", "+", limit)
        return decoded([(_position(name), fields[FIELD]) for name, fields in found], after, end)

    def wait(self, after: int, timeout_s: float) -> None:
        """See `log.Log`."""
        with self._asking() as client:
            client.xread({STREAM: f"0-{after}"}, count=1, block=max(1, int(1000 * timeout_s)))

    def trim(self, upto: int) -> None:
        """See `log.Log`."""
        with self._asking() as client:
            client.xtrim(STREAM, minid=f"0-{upto + 1}", approximate=False)

    def close(self) -> None:
        """See `log.Log`."""
        self._client.close()

    def _info(self) -> dict[str, Any]:
        """What Redis tells of the stream; nothing if it does not exist."""
        with self._asking() as client:
            return client.xinfo_stream(STREAM) if client.exists(STREAM) else {}

    @contextmanager
    def _asking(self) -> Iterator[Any]:
        """The client, once the server's settings have been checked."""
        try:
            self._check_settings()
            yield self._client
        except (RedisError, OSError) as error:
            raise log_unavailable(error) from None

    def _check_settings(self) -> None:
        if not self._is_checked:
            found: Any = self._client.config_get(*NEEDED)
            if found != NEEDED:
                raise RedisError(f"its Redis needs the settings {NEEDED}, not {found}")
            self._is_checked = True


def _end(info: dict[str, Any]) -> int:
    return _position(info.get("last-generated-id", b"0-0"))


def _position(name: bytes) -> int:
    return int(name.partition(b"-")[2])
