"""Putting a version in use while search servers run: all of them take it, or it is taken back."""

import logging
import socket
import time
from collections.abc import Iterator, Sequence

from common.config import Search, split_address
from common.errors import ConfigError, DeadlineExceeded, ServiceError
from common.inside import Inside
from common.peer import Peer
from common.wire import decode_reply
from prepare.versions import current_of, put_in_use
from search.manifest import Current, Folders, Manifest, Named, write_current
from search.messages import Info

PATIENCE_S = 2.0
INTERVAL_S = 0.1
WAIT_S = 600.0
"""Servers load some hundred MB a second; one that takes longer is left behind, which is no harm:
while it lags, middle answers from the version before."""

log = logging.getLogger(__name__)


def hand_over(
    folders: Folders, manifest: Manifest, search: Search, keep: int, inside: Inside
) -> None:
    """Put a version in use and wait until the servers that run have taken it.

    Where one refuses it, the version before is in use again: raises ConfigError that says why.
    """
    before = current_of(folders)
    if before is None or before.now == manifest.named:
        put_in_use(folders, manifest.named, keep)
        return
    servers = list(_followers(search, before.now, manifest, inside))
    put_in_use(folders, manifest.named, keep)
    refusal = _wait(servers, manifest.named)
    for server in servers:
        server.close()
    if refusal:
        write_current(folders, Current(before.now, manifest.named))
        raise ConfigError(f"{refusal}; {before.now.version} is in use again")


def _followers(search: Search, before: Named, manifest: Manifest, inside: Inside) -> Iterator[Peer]:
    """The servers that hold the version before, and so follow the same CURRENT."""
    for number in range(len(search.server_list)):
        for address in search.replicas(number):
            if not _listens(address):
                continue
            server = Peer(address, inside=inside)
            try:
                info = _info(server)
            except ServiceError as error:
                log.warning("%s is not waited for: %s", address, error.detail)
                server.close()
                continue
            if info.seal == before.sha256 and info.space == manifest.space:
                yield server
                continue
            server.close()
            if info.seal == before.sha256:
                log.warning(
                    "%s answers from %s until it is started anew: %s is of another model",
                    *(address, before.version, manifest.version),
                )


def _listens(address: str) -> bool:
    host, port = split_address(address)
    try:
        socket.create_connection((host, port), PATIENCE_S).close()
    except OSError:
        return False
    return True


def _info(server: Peer) -> Info:
    return decode_reply(server.get("/info", time.monotonic() + PATIENCE_S), Info)


def _wait(servers: Sequence[Peer], named: Named) -> str | None:
    """Wait until each has taken a version; what one that refuses it says."""
    waiting = list(servers)
    until = time.monotonic() + WAIT_S
    while waiting and time.monotonic() < until:
        for server in list(waiting):
            try:
                info = _info(server)
            except DeadlineExceeded:
                continue
            except ServiceError:
                log.warning("%s has gone", server.address)
                waiting.remove(server)
                continue
            if info.refused == named.sha256:
                return f"{server.address} refused {named.version}: {info.reason}"
            if info.seal == named.sha256:
                waiting.remove(server)
        time.sleep(INTERVAL_S)
    for server in waiting:
        log.warning("%s has not taken %s yet", server.address, named.version)
    return None
