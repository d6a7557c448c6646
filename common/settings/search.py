"""The section Search of config.json."""

import math
from typing import Annotated

from msgspec import Meta

from common.addresses import split_address
from common.settings.dealing import deal
from common.settings.section import Listen, Natural, Port, Positive, Seconds, Section

MAX_SHARD_IMAGES = 200_000
"""The images in a shard, at most on average, where prepare chooses the number of shards.

hnswlib loads a shard under Python's lock, .7 to .85 s a GB: 200,000 vectors of 512 numbers (.47 GB)
silence their server for .4 s. A smaller shard is also built and read by itself, beside others.
"""


class Search(Section, frozen=True):
    """The search servers, which hold the shards of the index."""

    server_list: Annotated[
        tuple[str | tuple[str, ...], ...],
        Meta(
            description="The `host:port` of each search server."
            " An entry that is a list names the replicas of one server."
            " With an empty list and a section Gateway, this system only embeds:"
            " there are no search servers, and the supervisor starts no front."
        ),
    ] = ("127.0.0.1:9000",)
    listen: Listen = None
    inner_port: Annotated[
        Port | None,
        Meta(
            description="As `listen`, on all IPv4 addresses of the machine."
            " It has no effect beside `listen`."
        ),
    ] = None
    ef_search: Annotated[
        Positive,
        Meta(
            description="The candidates that HNSW looks at in an index of one shard."
            " More candidates are slower and more exact."
            " Each of several shards looks at fewer, for equal recall."
            " Up to 20,000 images are searched exactly, whatever this number is."
        ),
    ] = 64
    shards: Annotated[
        Positive | None,
        Meta(
            description="The shards that the next index is split into."
            " null: one a server, or more of about equal size, with 200,000 images each at most."
            " They are dealt to the servers so that one more server, or one less, moves few."
            " `--index` names others for one server."
        ),
    ] = None
    threads: Annotated[
        Natural,
        Meta(
            description="Threads for a batch of queries in one shard."
            " 0: the cores, shared among the search servers of one host."
        ),
    ] = 0
    reload_s: Annotated[
        Seconds, Meta(description="The time between two looks for a new index version.")
    ] = 1.0

    def shards_for(self, images: int) -> int:
        """How many shards an index of so many images is split into."""
        servers = max(1, len(self.server_list))
        each = math.ceil(images / (servers * MAX_SHARD_IMAGES))
        return self.shards or servers * max(1, each)

    @property
    def addresses(self) -> list[str]:
        """Of all servers and all replicas."""
        servers = range(len(self.server_list))
        return [address for server in servers for address in self.replicas(server)]

    def replicas(self, server: int) -> tuple[str, ...]:
        """The addresses of server-list entry `server`."""
        entry = self.server_list[server]
        return (entry,) if isinstance(entry, str) else entry

    def bound(self, server: int, replica: int) -> tuple[str, int]:
        """The host and the port that a replica of an entry binds; raises IndexError."""
        listed = split_address(self.replicas(server)[replica])
        if self.listen:
            return split_address(self.listen)
        if self.inner_port is not None:
            return "0.0.0.0", self.inner_port  # noqa: S104 # nosec B104
        return listed

    def beside(self, host: str) -> int:
        """How many servers, replicas too, listen on a host."""
        return sum(split_address(address)[0] == host for address in self.addresses)

    def shards_of(self, server: int, shard_count: int) -> list[int]:
        """The shards of an index that entry `server` holds."""
        return list(deal(len(self.server_list), shard_count)[server])
