"""config.json: reading and checking it. Its sections and keys are in common/settings/."""

import sys
from pathlib import Path

import msgspec

from common.addresses import DNS, split_address
from common.errors import ConfigError
from common.settings.front import Front
from common.settings.gateway import Gateway
from common.settings.inference import Inference
from common.settings.inside import Inside
from common.settings.live import ALONE, Live
from common.settings.middle import Middle
from common.settings.prepare import IndexKind, Prepare, RegionKind
from common.settings.process import Process
from common.settings.search import Search
from common.settings.section import Listed, Section, Server

__all__ = [
    "CHECKOUT",
    "Config",
    "Front",
    "Gateway",
    "IndexKind",
    "Inference",
    "Inside",
    "Listed",
    "Live",
    "Loaded",
    "Middle",
    "Prepare",
    "Process",
    "RegionKind",
    "Search",
    "Server",
    "load",
    "parse",
]

CHECKOUT = Path(__file__).resolve().parent.parent


class Config(Section, frozen=True, rename="pascal"):
    """All of config.json."""

    front: Front = Front()
    middle: Middle = Middle()
    inference: Inference = Inference()
    search: Search = Search()
    gateway: Gateway | None = None
    inside: Inside = Inside()
    prepare: Prepare = Prepare()
    live: Live = Live()
    process: Process = Process()

    @property
    def max_message_bytes(self) -> int:
        """The largest message to middle: what front lets in, and the words around it."""
        return self.front.max_body_bytes + 2**16

    @property
    def log(self) -> str | None:
        """`Live.log`, or what its "auto" stands for: a file of one machine, or none."""
        if self.live.log != "auto":
            return self.live.log
        addresses = (*self.middle.addresses, *self.search.addresses)
        hosts = {address.rpartition(":")[0] for address in addresses}
        return ALONE if len(hosts) == 1 else None


class Loaded(msgspec.Struct, frozen=True):
    """A configuration together with the folder that its relative paths start from."""

    config: Config
    root: Path

    def path(self, name: str) -> Path:
        """The absolute path of `name`, a path as config.json writes it."""
        return self.root / name


def parse(text: str | bytes) -> Config:
    """Read the JSON of a configuration; raises ConfigError naming the key at fault."""
    try:
        config = msgspec.json.decode(text, type=Config)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ConfigError(f"config: {error}") from None
    listed = config.search.server_list
    if not all(listed) or not (listed or config.gateway):
        raise ConfigError("config: Search.server-list is empty")
    for name in ("middle", "inference", "search"):
        for address in getattr(config, name).addresses:
            entry = address if name == "search" else address.removeprefix(DNS)
            split_address(entry, f"{name.title()}.server-list")
    for name in ("front", "middle", "inference", "search", "gateway"):
        if listen := getattr(getattr(config, name), "listen", None):
            split_address(listen, f"{name.title()}.listen")
    if upstream := config.front.immich_upstream:
        split_address(upstream, "Front.immich-upstream")
    return config


def load(name: str) -> Loaded:
    """Read the file `name`, or standard input for `-`; raises ConfigError."""
    if name == "-":
        return Loaded(parse(sys.stdin.buffer.read()), Path.cwd())
    path = Path(name)
    try:
        text = path.read_bytes()
    except OSError as error:
        raise ConfigError(f"config: cannot read {name}: {error.strerror}") from None
    return Loaded(parse(text), path.resolve().parent)
