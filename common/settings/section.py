"""What the sections of config.json share: their base, the types of keys, lists of servers."""

from typing import Annotated, Self

import msgspec
from msgspec import Meta

from common.addresses import DNS, join_address, split_address
from common.errors import ConfigError

Port = Annotated[int, Meta(ge=0, le=65535)]
Positive = Annotated[int, Meta(ge=1)]
Natural = Annotated[int, Meta(ge=0)]
Fraction = Annotated[float, Meta(ge=0, le=1)]
Seconds = Annotated[float, Meta(gt=0)]
InFlightBytes = Annotated[
    int,
    Meta(
        ge=1,
        description="The most bytes of the bodies that a worker has in hand; one body is always"
        " taken, and bodies up to 64 KiB are not counted. A further body is refused at once,"
        " unread: 503 `overloaded`. Plan two to three times as much memory.",
    ),
]
IN_FLIGHT_BYTES = 256 * 2**20
"""The default, 12 of the largest images."""


Listen = Annotated[
    str | None,
    Meta(
        description="The `host:port` to bind, where it is not the address by which others reach the"
        " server, as in containers: `0.0.0.0:8001`. null: that address."
    ),
]


class Section(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="kebab"):
    """A section of config.json; its keys are written in kebab-case there.

    Each key has its meaning in `Meta(description=...)`: docs/reference/config.md is made of it.
    """


class Server(Section, frozen=True):
    """A server and what it binds."""

    address: Annotated[
        str,
        Meta(
            description="The address that the server listens on, and by which others reach it:"
            " an IP address or a name."
        ),
    ] = "127.0.0.1"
    port: Annotated[Port, Meta(description="The port that the server listens on.")] = 0
    listen: Listen = None

    @property
    def bound(self) -> tuple[str, int]:
        """The host and the port that the server binds."""
        return split_address(self.listen) if self.listen else (self.address, self.port)


class Listed(Server, frozen=True):
    """Servers of which there may be several, all the same."""

    server_list: Annotated[
        tuple[str, ...],
        Meta(
            description="The `host:port` of each of several equal servers, which share the queries."
            " Each server is started with its `--server-index`."
            " If the list is empty, there is one server, at `address` and `port`."
            " An entry `dns:NAME:PORT` is a server at each address that the name has, now or later;"
            " those are started elsewhere, without `--server-index`."
        ),
    ] = ()

    @property
    def addresses(self) -> tuple[str, ...]:
        """The "host:port" of each."""
        return self.server_list or (join_address(self.address, self.port),)

    @property
    def own(self) -> list[int | None]:
        """The entries that are one server each; [None], the section's own, if there are none."""
        entries = enumerate(self.server_list)
        return [index for index, entry in entries if not entry.startswith(DNS)] or [None]

    def at(self, index: int | None) -> Self:
        """With the address of one entry of the list; None: as it is. Raises ConfigError."""
        if index is None:
            return self
        try:
            host, port = split_address(self.addresses[index])
        except IndexError:
            raise ConfigError(f"there is no entry {index} of server-list") from None
        return msgspec.structs.replace(self, address=host, port=port)
