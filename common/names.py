"""The addresses of names, asked for in the background: no query waits for a name server."""

import asyncio
import contextvars
import logging
import socket
import threading
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import NamedTuple

from common.addresses import DNS, join_address, split_address

log = logging.getLogger(__name__)

EVERY_S = 5.0
"""The time between two questions for a name."""
AGAIN_S = 0.5
"""The same while the name has no address: the other services may be starting."""
FIRST_S = 1.0
"""The wait for the first answer for a name. A name server that is silent takes 10 s and more."""

Resolve = Callable[[str], Awaitable[Sequence[str]]]
"""Asks for the IP addresses of a name; raises OSError."""


class Target(NamedTuple):
    """Where a server is: "host:port", and the name in its certificate if that is not the host."""

    address: str
    name: str | None = None


async def resolve(name: str) -> Sequence[str]:
    """The IP addresses of a name, as the system tells them; raises OSError.

    The thread ends with the process. A thread of the loop's pool that waits for a silent name
    server would hold up other work, and the end of the process.
    """
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[list[str]] = loop.create_future()

    def tell(found: list[str] | OSError) -> None:
        if not answer.done():
            answer.set_exception(found) if isinstance(found, OSError) else answer.set_result(found)

    def ask() -> None:
        found: list[str] | OSError
        try:
            records = socket.getaddrinfo(
                name, None, type=socket.SOCK_STREAM, flags=socket.AI_ADDRCONFIG
            )
            found = [str(record[4][0]) for record in records]
        except (OSError, UnicodeError) as error:  # a label that is too long is a UnicodeError
            found = OSError(None, f"{name}: {error}")
        with suppress(RuntimeError):  # the loop is closed
            loop.call_soon_threadsafe(tell, found)

    threading.Thread(target=ask, name="names", daemon=True).start()
    return await answer


class Names:
    """The last known addresses of names. Belongs to one event loop."""

    def __init__(self, resolve: Resolve = resolve) -> None:
        """The first question for a name starts a task that follows the name."""
        self._resolve = resolve
        self._known: dict[str, tuple[str, ...]] = {}
        self._followers: dict[str, asyncio.Task[None]] = {}
        self._answered: dict[str, asyncio.Event] = {}
        self.changes = 0
        """How often the addresses of a name have changed."""

    def addresses(self, name: str) -> tuple[str, ...]:
        """The last known addresses of a name; none before the first answer."""
        if name not in self._followers:
            answered = self._answered[name] = asyncio.Event()
            loop = asyncio.get_running_loop()
            # An empty context: the task outlives the request that asks first.
            self._followers[name] = loop.create_task(
                self._follow(name, answered), context=contextvars.Context()
            )
            loop.call_later(FIRST_S, answered.set)
        return self._known.get(name, ())

    async def first(self, name: str) -> tuple[str, ...]:
        """The same, and waits if nothing was answered yet: at most FIRST_S after the start."""
        if not (known := self.addresses(name)):
            await self._answered[name].wait()
        return known or self.addresses(name)

    async def close(self) -> None:
        """Stop asking."""
        for follower in self._followers.values():
            follower.cancel()
        await asyncio.gather(*self._followers.values(), return_exceptions=True)
        self._followers.clear()

    async def _follow(self, name: str, answered: asyncio.Event) -> None:
        is_failing = False
        while True:
            try:
                self._learn(name, await self._resolve(name))
                is_failing = False
            except OSError as error:
                if not is_failing:
                    stay = ", ".join(self.addresses(name)) or "none are known"
                    log.warning("no addresses of a name: %s; the last ones stay: %s", error, stay)
                is_failing = True
            answered.set()
            await asyncio.sleep(EVERY_S if self.addresses(name) else AGAIN_S)

    def _learn(self, name: str, found: Sequence[str]) -> None:
        if set(found) != set(self.addresses(name)):
            self._known[name] = tuple(dict.fromkeys(found))
            self.changes += 1
            log.info("%s is %s", name, ", ".join(self._known[name]))


class Targets:
    """The servers of a list whose entries are "host:port", or "dns:NAME:PORT" for several."""

    def __init__(self, entries: Sequence[str], names: Names) -> None:
        self._entries = entries
        self._names = names
        self._of_names = [
            split_address(entry.removeprefix(DNS))[0] for entry in entries if entry.startswith(DNS)
        ]

    @property
    def changes(self) -> int:
        """Another number after each change."""
        return self._names.changes if self._of_names else 0

    async def wait(self) -> None:
        """Wait for the first addresses of the names, for at most FIRST_S after the start."""
        for name in self._of_names:
            await self._names.first(name)

    def all(self) -> list[Target]:
        """Each server, as far as is known."""
        found: list[Target] = []
        for entry in self._entries:
            if not entry.startswith(DNS):
                found.append(Target(entry))
                continue
            name, port = split_address(entry.removeprefix(DNS))
            addresses = self._names.addresses(name)
            found += [Target(join_address(address, port), name) for address in addresses]
        return list(dict.fromkeys(found))
