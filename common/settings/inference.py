"""The section Inference of config.json."""

import re
from typing import Annotated, Literal, Self

import msgspec
from msgspec import Meta

from common.settings.section import (
    IN_FLIGHT_BYTES,
    InFlightBytes,
    Listed,
    Natural,
    Port,
    Positive,
    Section,
)

ImageFormat = Literal[
    "jpeg", "png", "webp", "gif", "bmp", "raw", "tiff", "avif", "heif", "jpeg2000"
]


DEVICE = re.compile(r"(auto|cpu|gpu)|cuda(?::(\d+(?:,\d+)*))?|RR(?:(\d+):(\d+))?")
"""A device in config.json. The groups are the kind, the numbers of GPUs, the first and the end."""

Runtime = Annotated[
    Literal["onnxruntime", "tensorrt", "openvino", "torch", "torch-compile"],
    Meta(
        description="What runs the models."
        " Each runtime but `onnxruntime` needs a package that is not installed by default."
    ),
]
Devices = Annotated[
    str | tuple[str, ...],
    Meta(
        description="What the models run on: `cpu`, `cuda`, some GPUs (`cuda:0,1`),"
        " all GPUs in turn (`RR`), a slice of them (`RR0:2`), or `gpu` (Intel's)."
        " `auto` is `cuda`, the first GPU, where the driver and `runtime` have it, else `cpu`."
        ' A list, such as `["cuda", "cpu"]`, has the fastest first:'
        " all of them take from one queue."
    ),
]
Precision = Annotated[
    Literal["fp32", "fp16", "bf16", "int8"],
    Meta(
        description="The numbers that the models compute with."
        " Which ones there are depends on `runtime` and on how the model was exported."
    ),
]
ReplicaCount = Annotated[
    Natural,
    Meta(
        description="Copies of each model, dealt out over the devices in turn."
        " 0: one copy a GPU; on the CPU as many as its cores can run."
    ),
]
Threads = Annotated[
    Natural,
    Meta(
        description="Threads of one copy of a model on the CPU."
        " 0: the cores, shared among the copies;"
        " if `replicas` is 0 too, one thread up to 7 cores, 2 from 8, 3 from 12, 4 from 16."
    ),
]
MaxBatch = Annotated[Positive, Meta(description="The most inputs that a model embeds together.")]


class Role(Section, frozen=True):
    """What differs for a role. A key that is missing, or null, is as in the section."""

    runtime: Runtime | None = None
    device: Devices | None = None
    precision: Precision | None = None
    replicas: ReplicaCount | None = None
    threads: Threads | None = None
    max_batch: MaxBatch | None = None

    def __post_init__(self) -> None:
        """Raise ValueError for what is no device."""
        if self.device is not None:
            _check_devices(self.device)


class Roles(Section, frozen=True):
    """The roles of models."""

    clip: Role = Role()
    mclip: Role = Role()
    sam: Role = Role()


class Inference(Listed, frozen=True):
    """The server that embeds texts and images: the embedded server, or TorchServe."""

    port: Annotated[
        Port,
        Meta(description="The port that the server listens on; TorchServe's default is the same."),
    ] = 8080
    clip: Annotated[
        str,
        Meta(
            description="The model that embeds images and English texts: a name or a folder."
            " After a change, run prepare again and restart inference and the search servers."
        ),
    ] = "starter"
    mclip: Annotated[
        str | None,
        Meta(
            description="The text tower for other languages: a name, a folder, or null for none."
            " `auto` takes the tower that belongs to `clip`,"
            " or `clip` itself if its name says that it is multilingual."
        ),
    ] = "auto"
    sam: Annotated[
        str | None,
        Meta(
            description="The Segment Anything model, which finds the outline of what is clicked:"
            " a folder, a repository of the hub (`owner/name`), or null for none."
            " It runs with ONNX Runtime, whatever `runtime` is."
        ),
    ] = None
    key_file: Annotated[
        str | None,
        Meta(
            description="TorchServe's `key_file.json`, if TorchServe answers at this address."
            " The supervisor then starts no embedded server."
        ),
    ] = None
    runtime: Runtime = "onnxruntime"
    device: Devices = "auto"
    precision: Precision = "fp32"
    replicas: ReplicaCount = 0
    threads: Threads = 0
    max_batch: MaxBatch = 64
    roles: Annotated[
        Roles,
        Meta(
            description="What differs for the models of one role, `clip`, `mclip` or `sam`: any of"
            " `runtime`, `device`, `precision`, `replicas`, `threads` and `max-batch`."
            ' Another key is as in the section: `{"mclip": {"device": "cuda:1"}}`.'
            " `sam` heeds `device`, `precision` and `threads`."
        ),
    ] = Roles()
    metrics_port: Annotated[
        Port | None,
        Meta(
            description="A port that has `/metrics` alone, without a token."
            " It is for one server, not for a `server-list`."
        ),
    ] = None
    decode_threads: Annotated[
        Natural,
        Meta(description="Threads that read and preprocess images; 0: one a core."),
    ] = 0
    max_queue: Annotated[
        Positive,
        Meta(
            description="The most inputs that wait for a model."
            " A further input is refused at once: 503 `overloaded`."
        ),
    ] = 1024
    max_in_flight_bytes: InFlightBytes = IN_FLIGHT_BYTES
    max_pixels: Annotated[
        Positive,
        Meta(
            description="The largest image that is decoded, by inference, prepare and thumbnails."
            " A photo of 50 megapixels takes 150 MB of memory."
            " A JPEG that is not progressive may have four times as many: it is decoded smaller."
            " A JPEG 2000 takes four times the memory, so it may have a quarter, or is halved."
        ),
    ] = 50_000_000
    query_formats: Annotated[
        tuple[ImageFormat, ...] | None,
        Meta(
            description="The formats of images that may be sent as queries; null: all."
            " prepare always reads all."
            " Each format brings a decoder that strangers' bytes reach:"
            " leave out what nobody sends."
        ),
    ] = None

    def __post_init__(self) -> None:
        """Raise ValueError for what is no device."""
        _check_devices(self.device)

    def of(self, role: str) -> Self:
        """As it is for one role, whose own keys come first."""
        own = msgspec.structs.asdict(getattr(self.roles, role))
        changes = {name: value for name, value in own.items() if value is not None}
        return msgspec.structs.replace(self, **changes, roles=Roles())


def listed(device: str | tuple[str, ...]) -> tuple[str, ...]:
    """The devices of the key `device`, which has one or a list."""
    return (device,) if isinstance(device, str) else device


def _check_devices(device: str | tuple[str, ...]) -> None:
    # Not by Meta(pattern=..): msgspec 0.22 crashes on a union of two types with limits.
    for name in listed(device):
        if not DEVICE.fullmatch(name):
            raise ValueError(f"device: {name!r} is not auto, cpu, gpu, cuda, cuda:0,1, RR or RR0:2")
    if not device:
        raise ValueError("device: the list is empty")
