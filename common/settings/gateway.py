"""The section Gateway of config.json."""

from typing import Annotated, Literal

from msgspec import Meta

from common.settings.section import Port, Positive, Server

Protocol = Literal["grpc", "http", "websocket"]


class Gateway(Server, frozen=True):
    """What clients of CLIP-as-service ask. There is no gateway unless this section is named."""

    address: Annotated[
        str,
        Meta(
            description="The address that the gateway listens on: an IP address or a name. On an"
            " address that other machines reach, it starts only with a key or with `open`."
        ),
    ] = "127.0.0.1"
    port: Annotated[Port, Meta(description="The port of gRPC; CLIP-as-service has the same.")] = (
        51000
    )
    http_port: Annotated[
        Port,
        Meta(
            description="The port of HTTP and of WebSocket."
            " `/healthz`, `/ready` and `/metrics` are there, too."
        ),
    ] = 51001
    protocols: Annotated[
        tuple[Protocol, ...],
        Meta(min_length=1, description="What the gateway speaks: `grpc`, `http`, `websocket`."),
    ] = ("grpc", "http", "websocket")
    text_model: Annotated[
        Literal["clip", "mclip"],
        Meta(
            description="The text tower for requests that name no model."
            " It is never chosen by the text: rows of one array must compare."
        ),
    ] = "clip"
    max_documents: Annotated[
        Positive,
        Meta(
            description="The most documents in hand, over all clients; an image counts as four."
            " What comes beyond is not read until there is room, so that clients slow down."
            " A larger request goes alone."
        ),
    ] = 128
    prefetch: Annotated[
        Positive | None,
        Meta(
            description="The most requests in hand, over all clients."
            " null: `max-documents` alone is the limit."
        ),
    ] = None
    wait_ms: Annotated[
        Positive,
        Meta(
            description="How long the gateway asks again, from the first refusal, while the servers"
            " behind it are overloaded or restart. Then the request fails."
        ),
    ] = 30_000
    rate_per_s: Annotated[
        Annotated[float, Meta(gt=0)] | None,
        Meta(
            description="The rate of requests of each key, and of each address without a key."
            " What comes faster waits, unread; what would wait longer than `wait-ms` is refused:"
            " `rate_limited`, over HTTP 429 with `Retry-After`. With null there is no limit."
        ),
    ] = None
    rate_burst: Annotated[
        Positive,
        Meta(
            description="The requests that a client may send at once before `rate-per-s` holds."
            " clip-client sends up to 100."
        ),
    ] = 120
    max_message_bytes: Annotated[
        Positive,
        Meta(
            description="The largest request. Each image in it may have `Front.max-body-bytes`."
            " A connection may hold one request of this size that waits for room."
        ),
    ] = 64 * 2**20
    metrics_port: Annotated[
        Port | None,
        Meta(description="A port that has `/metrics` alone, beside that of `http-port`."),
    ] = None
    open: Annotated[
        bool,
        Meta(
            description="Lets everybody ask without a key, and index images where there is a"
            " `Live.log`, also where `address` is one that other machines reach."
        ),
    ] = False
    tls_cert: Annotated[
        str | None,
        Meta(
            description="The certificate chain (PEM) of all three protocols."
            " Restart the gateway after the file is renewed."
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
