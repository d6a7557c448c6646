"""The section Inference of config.json."""

from typing import Annotated, Literal

from msgspec import Meta

from common.settings.section import (
    IN_FLIGHT_BYTES,
    InFlightBytes,
    Listed,
    Natural,
    Port,
    Positive,
)

ImageFormat = Literal[
    "jpeg", "png", "webp", "gif", "bmp", "raw", "tiff", "avif", "heif", "jpeg2000"
]


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
    key_file: Annotated[
        str | None,
        Meta(
            description="TorchServe's `key_file.json`, if TorchServe answers at this address."
            " The supervisor then starts no embedded server."
        ),
    ] = None
    runtime: Annotated[
        Literal["onnxruntime", "tensorrt", "openvino", "torch", "torch-compile"],
        Meta(
            description="What runs the models."
            " Each runtime but `onnxruntime` needs a package that is not installed by default."
        ),
    ] = "onnxruntime"
    device: Annotated[
        str,
        Meta(
            description="What the models run on: `cpu`, `cuda`, some GPUs (`cuda:0,1`),"
            " all GPUs in turn (`RR`), a slice of them (`RR0:2`), or `gpu` (Intel's)."
            " `auto` is `cuda`, the first GPU, where the driver and `runtime` have it, else `cpu`."
        ),
    ] = "auto"
    precision: Annotated[
        Literal["fp32", "fp16", "bf16", "int8"],
        Meta(
            description="The numbers that the models compute with."
            " Which ones there are depends on `runtime` and on how the model was exported."
        ),
    ] = "fp32"
    replicas: Annotated[
        Natural,
        Meta(
            description="Copies of each model, dealt out over the devices in turn."
            " 0: one copy a GPU; on the CPU as many as its cores can run."
        ),
    ] = 0
    metrics_port: Annotated[
        Port | None,
        Meta(
            description="A port that has `/metrics` alone, without a token."
            " It is for one server, not for a `server-list`."
        ),
    ] = None
    threads: Annotated[
        Natural,
        Meta(
            description="Threads of one copy of a model."
            " 0: the cores, shared among the copies;"
            " if `replicas` is 0 too, one thread up to 7 cores, 2 from 8, 3 from 12, 4 from 16."
        ),
    ] = 0
    decode_threads: Annotated[
        Natural,
        Meta(description="Threads that read and preprocess images; 0: one a core."),
    ] = 0
    max_batch: Annotated[
        Positive, Meta(description="The most inputs that a model embeds together.")
    ] = 64
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
