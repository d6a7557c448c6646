"""The section Front of config.json."""

from typing import Annotated, Literal

from msgspec import Meta

from common.settings.section import (
    IN_FLIGHT_BYTES,
    InFlightBytes,
    Natural,
    Port,
    Positive,
    Server,
)

Host = Annotated[str, Meta(pattern=r"^[0-9A-Za-z.:_-]+$")]
Wire = Literal["openai", "clip-retrieval", "immich", "weaviate"]
CorsOrigin = Annotated[str, Meta(pattern=r"^https?://[^/*\s]+$")]


class Front(Server, frozen=True):
    """The public server: HTTP API, page, thumbnails, documentation."""

    address: Annotated[
        str,
        Meta(
            description="The address that front listens on: an IP address or a name."
            " On an address that other machines reach, front starts only with a key or with `open`."
        ),
    ] = "127.0.0.1"
    port: Annotated[Port, Meta(description="The port that front listens on; 0: any free one.")] = (
        8000
    )
    workers: Annotated[
        Positive,
        Meta(
            description="The number of worker processes."
            " Each worker has its own `max-in-flight`, rates and thumbnails."
        ),
    ] = 1
    threads: Annotated[
        Positive | None,
        Meta(
            description="Has no effect: a worker has a thread for each request in hand."
            " A start with this key logs a warning."
        ),
    ] = None
    max_in_flight: Annotated[
        Positive,
        Meta(
            description="The most requests that a worker has in hand, each in a thread."
            " A further request is refused at once: 503 `overloaded`."
        ),
    ] = 256
    max_in_flight_bytes: InFlightBytes = IN_FLIGHT_BYTES
    max_body_bytes: Annotated[
        Positive,
        Meta(
            description="The largest body of a request, and the largest image of an `image_url`."
            " A phone's photo has 3 to 12 MB; base64 adds a third."
        ),
    ] = 20 * 2**20
    thumbnail_pixels: Annotated[
        Positive, Meta(description="The length of a thumbnail's longer side.")
    ] = 320
    preview_pixels: Annotated[
        Positive,
        Meta(
            description="The length of a preview's longer side."
            " The page shows previews, also of images that browsers cannot show."
        ),
    ] = 1600
    rendition_dir: Annotated[
        str,
        Meta(
            description="The folder that keeps thumbnails and previews."
            " It may be deleted at any time: they are made again."
        ),
    ] = "data/renditions"
    rendition_bytes: Annotated[
        Natural,
        Meta(
            description="The size of `rendition-dir`; 0: nothing is kept there."
            " What was not used for longest is deleted."
            " A thumbnail takes 20 kB, a preview 300 kB."
            " Each worker may exceed it by a sixteenth."
        ),
    ] = 2 * 2**30
    answer_cache_bytes: Annotated[
        Natural,
        Meta(
            description="The memory of a worker for answers; 0: front keeps none."
            " An answer is kept for a minute at most, and only while middle would give it too."
        ),
    ] = 32 * 2**20
    thumbnail_cache_bytes: Annotated[
        Natural,
        Meta(
            description="The memory of a worker for the thumbnails and previews"
            " that were used last."
        ),
    ] = 64 * 2**20
    keys_file: Annotated[
        str | None,
        Meta(
            description="The file with the hashes of the API keys; `front/keys.py` writes it."
            " With this file, a request without a valid key is refused: 401."
            " Front reads the file again when it changes."
        ),
    ] = None
    open: Annotated[
        bool,
        Meta(
            description="Lets everybody ask without a key,"
            " also where `address` is one that other machines reach."
        ),
    ] = False
    rate_per_s: Annotated[
        Annotated[float, Meta(gt=0)] | None,
        Meta(
            description="The rate limit of each key, and of each address without a key"
            " (of IPv6: each /64)."
            " A request over it is refused before its body is read: 429 with `Retry-After`."
            " All routes count but `/healthz`."
            " Each worker counts for itself. With null there is no limit."
        ),
    ] = None
    rate_burst: Annotated[
        Positive,
        Meta(
            description="The requests that a client may send at once before `rate-per-s` holds."
            " The page with 96 hits needs 102 requests."
        ),
    ] = 120
    proxies: Annotated[
        Natural,
        Meta(
            description="The number N of proxies before front."
            " A client's address is the Nth entry from the end of `X-Forwarded-For`."
            " With 0, all clients of a proxy share one rate limit."
        ),
    ] = 0
    hosts: Annotated[
        tuple[Host, ...],
        Meta(
            description="The names, without ports, that a front without keys answers for,"
            " beside names and addresses of the machine itself (`localhost`, `127.0.0.1`)."
            " A request for another host is refused: 421 `misdirected`."
            " If the list is empty and `address` is one that other machines reach,"
            " and with keys, all hosts are answered for."
        ),
    ] = ()
    cors_origins: Annotated[
        tuple[CorsOrigin, ...],
        Meta(
            description="The other sites whose pages may ask and read answers,"
            " exactly as a browser names them: `https://photos.example`."
        ),
    ] = ()
    tls_cert: Annotated[
        str | None,
        Meta(
            description="The certificate chain (PEM) of the public side."
            " With it, front speaks TLS 1.2 and 1.3 only, and sends HSTS."
            " A renewed file is used at once, under granian after a restart."
        ),
    ] = None
    tls_key: Annotated[
        str | None,
        Meta(description="The private key (PEM) of `tls-cert`; null: it is in the same file."),
    ] = None
    tls_key_password_file: Annotated[
        str | None,
        Meta(description="A file with the password of the private key, if that is encrypted."),
    ] = None
    gzip: Annotated[
        bool,
        Meta(
            description="Sends answers in gzip to clients that ask for it (`Accept-Encoding`)."
            " It costs more time than it saves on a fast network. nginx before front does it, too."
        ),
    ] = False
    image_url: Annotated[
        bool,
        Meta(
            description="Lets a search name an image by its address, `image_url`."
            " Front then fetches images from public addresses of the Internet."
        ),
    ] = False
    image_url_ports: Annotated[
        tuple[Port, ...],
        Meta(description="The ports that front fetches an `image_url` from."),
    ] = (80, 443)
    image_url_ms: Annotated[
        Positive,
        Meta(
            description="The time for fetching an `image_url`, redirects included."
            " The deadline of the query begins after it."
        ),
    ] = 5000
    wires: Annotated[
        tuple[Wire, ...],
        Meta(description="The other projects whose API front answers too, beside its own."),
    ] = ("openai",)
    immich_upstream: Annotated[
        str | None,
        Meta(
            description="The `host:port` of Immich's own machine learning server, without `http://`,"
            " for what the wire `immich` cannot answer: faces, and text in images."
            " It has two minutes to answer: its first request loads a model."
        ),
    ] = None
