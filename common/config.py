"""config.json: every section and key, its type, its default and its meaning."""

import sys
from pathlib import Path
from typing import Annotated, Literal, Self

import msgspec
from msgspec import Meta

from common.addresses import join_address, split_address
from common.errors import ConfigError

CHECKOUT = Path(__file__).resolve().parent.parent

Port = Annotated[int, Meta(ge=0, le=65535)]
Positive = Annotated[int, Meta(ge=1)]
Natural = Annotated[int, Meta(ge=0)]
Fraction = Annotated[float, Meta(ge=0, le=1)]
Origin = Annotated[str, Meta(pattern=r"^https?://[^/*\s]+$")]
IndexKind = Literal["hnsw", "compact"]


class Section(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="kebab"):
    """A section of config.json; its keys are written in kebab-case there."""


class Front(Section, frozen=True):
    """The public server."""

    address: str = "127.0.0.1"
    port: Port = 8000
    workers: Positive = 1
    threads: Positive | None = None  # without effect: there is one for each request in hand
    # Requests that a worker has in hand at a time; more would only wait for their deadline.
    max_in_flight: Positive = 256
    # A phone's photo is 3 to 12 MB; base64 makes it a third longer.
    max_body_bytes: Positive = 20 * 2**20
    thumbnail_pixels: Positive = 320
    answer_cache_bytes: Natural = 32 * 2**20  # of each worker's memory; 0: nothing is kept
    thumbnail_cache_bytes: Natural = 64 * 2**20
    keys_file: str | None = None  # who may ask; front/keys.py writes it
    open: bool = False  # to everybody, also on an address that others reach
    rate_per_s: Annotated[float, Meta(gt=0)] | None = None  # of each key or client, in a worker
    rate_burst: Positive = 100  # at once: a page of 96 hits is 97 requests
    proxies: Natural = 0  # in front of us, that say for whom they ask: X-Forwarded-For
    cors_origins: tuple[Origin, ...] = ()  # other sites whose pages may ask and read
    tls_cert: str | None = None
    tls_key: str | None = None
    image_url: bool = False  # whether front fetches images for those who ask it
    image_url_ports: tuple[Port, ...] = (80, 443)
    image_url_ms: Positive = 5000  # a photo from far away; then the deadline of the query begins


class Listed(Section, frozen=True):
    """Servers of which there may be several, all the same."""

    address: str = "127.0.0.1"
    port: Port = 0
    server_list: tuple[str, ...] = ()  # of several, "ip:port"; else there is the one above

    @property
    def addresses(self) -> tuple[str, ...]:
        """The "host:port" of each."""
        return self.server_list or (join_address(self.address, self.port),)

    def at(self, index: int | None) -> Self:
        """With the address of one entry of the list; None: as it is. Raises ConfigError."""
        if index is None:
            return self
        try:
            host, port = split_address(self.addresses[index])
        except IndexError:
            raise ConfigError(f"there is no entry {index} of server-list: see --help") from None
        return msgspec.structs.replace(self, address=host, port=port)


class Middle(Listed, frozen=True):
    """The server that answers one query."""

    port: Port = 8001
    workers: Positive = 1
    threads: Positive | None = None  # as in front
    max_in_flight: Positive = 256  # as in front
    deadline_ms: Positive = 2000
    min_coverage: Fraction = 0.5
    cache: Annotated[str, Meta(pattern="^(memory|off|rediss?://.+)$")] = "memory"
    cache_bytes: Positive = 64 * 2**20  # of each worker's memory
    cache_expiry_s: Annotated[float, Meta(gt=0)] = 1800.0
    cache_policy: Literal["idle", "absolute", "lru"] = "idle"


class Inference(Listed, frozen=True):
    """The server that embeds; our own or TorchServe, which both listen on 8080."""

    port: Port = 8080
    clip: str = "starter"
    mclip: str | None = "auto"  # what belongs to clip, where that is known
    key_file: str | None = None  # TorchServe's key_file.json; our own server wants none
    runtime: Literal["onnxruntime", "tensorrt", "openvino", "torch", "torch-compile"] = (
        "onnxruntime"
    )
    device: str = "cpu"  # or gpu (Intel's), cuda, cuda:0,1, RR (all GPUs in turn), RR0:2
    precision: Literal["fp32", "fp16", "bf16", "int8"] = "fp32"
    replicas: Natural = 0  # of each model, dealt out over the devices; 0: one a device
    threads: Natural = 0  # of one replica; 0: the cores, shared among the replicas
    decode_threads: Natural = 0  # that read and preprocess images; 0: one a core
    max_batch: Positive = 64
    max_queue: Positive = 1024
    max_pixels: Positive = 50_000_000  # a 50-megapixel photo decodes to 150 MB


class Search(Section, frozen=True):
    """The search servers; an entry that is a list names replicas of one server."""

    server_list: tuple[str | tuple[str, ...], ...] = ("127.0.0.1:9000", "127.0.0.1:9001")
    inner_port: Port | None = None
    ef_search: Positive = 64
    shards: Positive | None = None  # None: one a server
    threads: Natural = 0  # of one batch in one shard; 0: the cores, shared with servers beside it
    reload_s: Annotated[float, Meta(gt=0)] = 1.0

    @property
    def shard_count(self) -> int:
        """How many shards the next index is split into."""
        return self.shards or len(self.server_list)

    @property
    def addresses(self) -> list[str]:
        """Of all servers and all replicas."""
        return [one for server in range(len(self.server_list)) for one in self.replicas(server)]

    def replicas(self, server: int) -> tuple[str, ...]:
        """The addresses of server-list entry `server`."""
        entry = self.server_list[server]
        return (entry,) if isinstance(entry, str) else entry

    def beside(self, host: str) -> int:
        """How many servers, replicas too, listen on a host."""
        return sum(split_address(address)[0] == host for address in self.addresses)

    def shards_of(self, server: int, shard_count: int) -> list[int]:
        """The shards of an index that entry `server` holds: dealt out in turn."""
        return list(range(server, shard_count, len(self.server_list)))


class Prepare(Section, frozen=True):
    """The offline steps; folders are relative to the folder of config.json."""

    embedding_dir: str = "data/embeddings"
    index_dir: str = "data/index"
    path_dir: str = "data/paths"
    hash_dir: str = "data/hashes"
    feature_dim: Positive | None = None  # None: whatever the model gives
    images: tuple[str, ...] = ("samples",)
    chunk_size: Positive = 2048  # rows; a chunk is what a kill can lose
    batch_size: Positive = 32
    threads: Natural = 0  # that read and decode; 0: one a core
    index: IndexKind = "hnsw"
    M: Annotated[int, Meta(ge=2, le=512)] = msgspec.field(default=16, name="M")
    ef_construction: Positive = 200
    keep_versions: Annotated[int, Meta(ge=2)] = 2


class Inside(Section, frozen=True):
    """What middle, inference and search demand of who asks them; files beside config.json."""

    token_file: str | None = None  # a secret that all of them share
    tls_cert: str | None = None  # of each, for the addresses that others know it by
    tls_key: str | None = None
    tls_ca: str | None = None  # who signed the certificates; then those who ask need one, too


class Process(Section, frozen=True):
    """What is the same for every server process."""

    # auto: gunicorn for front and middle and wherever there is TLS inside, else waitress.
    server: Literal["auto", "granian"] = "auto"
    # Told to stop, it says so and serves on until balancers have seen it; alone nobody has to.
    drain_wait_s: Annotated[float, Meta(ge=0, le=600)] = 0.0
    log_level: Literal["info", "debug"] = "info"
    # A request that takes this long is told with where it stands: three deadlines.
    stuck_s: Annotated[float, Meta(gt=0)] = 6.0
    traces: str | None = None  # where OpenTelemetry's collector takes them, by OTLP over HTTP


class Config(Section, frozen=True, rename="pascal"):
    """All of config.json, and the folder that its relative paths start from."""

    front: Front = Front()
    middle: Middle = Middle()
    inference: Inference = Inference()
    search: Search = Search()
    inside: Inside = Inside()
    prepare: Prepare = Prepare()
    process: Process = Process()

    @property
    def max_message_bytes(self) -> int:
        """The largest message to middle: what front lets in, and the words around it."""
        return self.front.max_body_bytes + 2**16


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
    if not config.search.server_list or not all(config.search.server_list):
        raise ConfigError("config: Search.server-list is empty")
    for name in ("middle", "inference", "search"):
        for address in getattr(config, name).addresses:
            split_address(address, name.title())
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
