"""The rollout of a version while search servers run: one refusal rolls the version back."""

import asyncio
import logging
from collections.abc import Sequence

from common.config import Search
from common.errors import ConfigError, DeadlineExceeded, ServiceError
from common.http_client import HttpClient, NotConnected
from common.internal_auth import InternalAuth
from prepare.versions import Publish, current_of, put_in_use
from search.client import fetch_info
from search.manifest import Folders, Manifest, VersionRef

TIMEOUT_S = 2.0
INTERVAL_S = 0.1
WAIT_S = 600.0
"""Servers load some hundred MB a second. A server that takes longer is not waited for: until it has
loaded the version, middle answers from the previous version."""

log = logging.getLogger(__name__)


def roll_out(
    folders: Folders,
    manifest: Manifest,
    search: Search,
    keep: int,
    inside: InternalAuth,
    publish: Publish | None = None,
) -> None:
    """Put a version in use and wait until the running search servers use it.

    If a server refuses the version, the previous version is put in use again. Raises ConfigError
    with the server's reason.
    """
    before = current_of(folders)
    if before is None or before.now == manifest.named:
        put_in_use(folders, manifest.named, keep, publish)
        return
    followers = asyncio.run(_followers(search, before.now, manifest, inside))
    put_in_use(folders, manifest.named, keep, publish)
    refusal = asyncio.run(_wait(followers, manifest.named, inside))
    if refusal:
        put_in_use(folders, before.now, keep, publish)
        raise ConfigError(f"{refusal}; {before.now.version} is in use again")


async def _followers(
    search: Search, before: VersionRef, manifest: Manifest, inside: InternalAuth
) -> list[str]:
    """The addresses of servers with the previous version: these follow the same CURRENT."""
    http, found = HttpClient(inside), []
    for number in range(len(search.server_list)):
        for address in search.replicas(number):
            try:
                info = await fetch_info(http, address, TIMEOUT_S)
            except NotConnected:
                continue
            except ServiceError as error:
                log.warning("%s is not waited for: %s", address, error.detail)
                continue
            if info.version_digest != before.sha256:
                continue
            if info.space == manifest.space:
                found.append(address)
                continue
            log.warning(
                "%s answers from %s until it is started anew: %s is of another model",
                *(address, before.version, manifest.version),
            )
    await http.close()
    return found


async def _wait(addresses: Sequence[str], named: VersionRef, inside: InternalAuth) -> str | None:
    """Wait until each server uses a version; returns the reason of a refusal, if any."""
    http, waiting = HttpClient(inside), list(addresses)
    loop = asyncio.get_running_loop()
    deadline = loop.time() + WAIT_S
    while waiting and loop.time() < deadline:
        for address in list(waiting):
            try:
                info = await fetch_info(http, address, TIMEOUT_S)
            except DeadlineExceeded:
                continue
            except ServiceError:
                log.warning("%s has gone", address)
                waiting.remove(address)
                continue
            if info.refused == named.sha256:
                await http.close()
                return f"{address} refused {named.version}: {info.reason}"
            if info.version_digest == named.sha256:
                waiting.remove(address)
        await asyncio.sleep(INTERVAL_S)
    await http.close()
    for address in waiting:
        log.warning("%s has not taken %s yet", address, named.version)
    return None
