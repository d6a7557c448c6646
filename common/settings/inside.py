"""The section Inside of config.json."""

from typing import Annotated

from msgspec import Meta

from common.settings.section import Section


class Inside(Section, frozen=True):
    """What middle, inference and search demand of each other and of front."""

    token_file: Annotated[
        str | None,
        Meta(
            description="A file with a secret that all services share, of 16 characters or more."
            " Middle, inference and search refuse a request without it,"
            " except for `/healthz` and `/ready`."
        ),
    ] = None
    tls_cert: Annotated[
        str | None,
        Meta(
            description="The certificate chain (PEM) with which middle, inference and search serve"
            " TLS. It must be good for every address by which other services reach them."
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
    tls_ca: Annotated[
        str | None,
        Meta(
            description="The authority (PEM) that must have signed all certificates."
            " With it, clients need a certificate, too (mutual TLS)."
            " With null, a server's certificate must be good for the system's authorities."
        ),
    ] = None
