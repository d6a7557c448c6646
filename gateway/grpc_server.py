"""gRPC: the services that CLIP-as-service's clients call, on grpc.aio."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import unquote

import grpc

from common.addresses import join_address
from common.config import Gateway
from common.errors import ConfigError, MissingPackage, Problem, ServiceError
from common.tls import DECRYPT, Tls
from gateway.access import Access
from gateway.answering import Answering, error_reply
from gateway.stream import IDLE_S, Stream, until_idle
from gateway.wire import SUCCESS, Status

CALL, DRY_RUN = "jina.JinaRPC", "jina.JinaGatewayDryRunRPC"
MAX_STREAMS = 256
"""Streams at a time of those who may ask; each may hold a message that was read ahead. A client may
keep a refused stream open by not reading the reply, so these are not among them."""
MAX_REFUSALS, REFUSAL_S = 16, 1.0
"""Refused streams that are read at a time, and for how long."""
CLOSED = "gRPC cannot use the key of Gateway.tls-cert, which has a password"

Context = Any
"""A grpc.aio.ServicerContext; grpcio has no types."""


class GrpcServer:
    """The gRPC server of one event loop."""

    def __init__(self, answering: Answering, access: Access, max_message_bytes: int) -> None:
        self._answering = answering
        self._access = access
        self._refusals = Refusals()
        self._open = 0
        options = [
            ("grpc.max_concurrent_streams", MAX_STREAMS),  # of a connection
            ("grpc.max_receive_message_length", max_message_bytes),
            ("grpc.max_send_message_length", -1),  # a reply is as long as its request
            ("grpc.so_reuseport", 0),  # a port that another process has is an error
        ]
        self._server = grpc.aio.server(options=options)
        call = grpc.stream_stream_rpc_method_handler(self._call)
        # as a stream, it is answered at once: a message that never comes is not waited for
        dry_run = grpc.stream_unary_rpc_method_handler(self._dry_run)
        self._server.add_generic_rpc_handlers(
            (
                grpc.method_handlers_generic_handler(CALL, {"Call": call}),
                grpc.method_handlers_generic_handler(DRY_RUN, {"dry_run": dry_run}),
            )
        )

    async def start(self, gateway: Gateway, tls: Tls | None) -> int:
        """Listen; returns the port. Raises ConfigError."""
        address = join_address(*gateway.bound)
        try:
            if tls:
                port = self._server.add_secure_port(address, credentials(tls))
            else:
                port = self._server.add_insecure_port(address)
        except RuntimeError:
            raise ConfigError(f"cannot listen on {address}: is Gateway.port in use?") from None
        await self._server.start()
        return int(port)

    async def stop(self, grace_s: float) -> None:
        """Take no new streams; after `grace_s`, end those that are left."""
        await self._server.stop(grace_s)

    async def _call(self, messages: AsyncIterator[bytes], context: Context) -> None:
        shown = dict(context.invocation_metadata() or ()).get("authorization", "")
        try:
            caller = self._access.check(str(shown), address_of(context.peer()))
        except ServiceError as error:
            await self._refusals.tell(error, messages, context)
            return
        if self._open == MAX_STREAMS:
            told = "too many streams are open: try again later"
            await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, told)
        stream = Stream(self._answering, "grpc", caller, context.write, self._access.turn)
        self._open += 1
        try:
            await stream.run(until_idle(messages))
            return
        except* TimeoutError:
            pass
        finally:
            self._open -= 1
        told = f"no request came, or no reply was read, for {IDLE_S:.0f} s: open another stream"
        await context.abort(grpc.StatusCode.DEADLINE_EXCEEDED, told)

    async def _dry_run(self, _requests: AsyncIterator[bytes], _context: Context) -> bytes:
        """Whether this server takes requests; whether middle is ready is for `/ready`."""
        return bytes(Status(code=SUCCESS).SerializeToString())


class Refusals:
    """Tells clients why they are refused, as the reply to each of their messages.

    An abort would reach clip-client while it writes, which hides the reason from it. So a stream is
    aborted only if it lasts longer than REFUSAL_S, or if MAX_REFUSALS are read already.
    """

    def __init__(self) -> None:
        self._count = 0

    async def tell(
        self, error: ServiceError, messages: AsyncIterator[bytes], context: Context
    ) -> None:
        """Read a refused stream, at most for REFUSAL_S; `context.abort` raises an error."""
        if self._count < MAX_REFUSALS:
            refusal = error_reply(Problem.of(error)).SerializeToString()
            self._count += 1
            try:
                async with asyncio.timeout(REFUSAL_S):
                    async for _ in messages:
                        await context.write(refusal)
                return
            except TimeoutError:
                pass
            finally:
                self._count -= 1
        await context.abort(grpc.StatusCode.UNAUTHENTICATED, error.detail)


def address_of(peer: str) -> str:
    """The address in what gRPC calls its peer: ipv4:127.0.0.1:50000, ipv6:%5B::1%5D:50000."""
    return unquote(peer).partition(":")[2].rpartition(":")[0].strip("[]")


def credentials(tls: Tls) -> grpc.ServerCredentials:
    """The certificate for gRPC, which reads no files itself; raises ConfigError."""
    key, chain = (tls.key or tls.cert).read_bytes(), tls.cert.read_bytes()
    if b"ENCRYPTED" in key:
        key = _decrypted(key, tls.password())
    return grpc.ssl_server_credentials([(key, chain)])


def _decrypted(key: bytes, password: str) -> bytes:
    """A private key (PEM) without its password, which gRPC takes no other way."""
    try:
        from cryptography.exceptions import UnsupportedAlgorithm
        from cryptography.hazmat.primitives import serialization
    except ModuleNotFoundError:
        raise MissingPackage(f"{CLOSED}: pip install cryptography; {DECRYPT}") from None
    try:
        opened = serialization.load_pem_private_key(key, password.encode())
    except (UnsupportedAlgorithm, ValueError) as error:
        raise ConfigError(f"{CLOSED}: {error}; {DECRYPT}") from None
    return opened.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
