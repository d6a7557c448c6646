"""What middle answers with, without any server behind it."""

import asyncio
from pathlib import Path

from common.cache_epoch import CacheEpoch
from common.config import parse
from common.internal_auth import InternalAuth
from middle.services import Services

NOBODY = b"""{
    "Inference": {"server-list": ["127.0.0.1:1"]},
    "Search": {"server-list": ["127.0.0.1:1", ["127.0.0.1:1", "127.0.0.1:2"]]}
}"""


async def test_without_servers_behind_it_is_not_ready_and_ends_well(tmp_path: Path) -> None:
    """It says which one is missing; closing it ends its tasks."""
    config = parse(NOBODY)
    services = Services(config, tmp_path, InternalAuth(config.inside, tmp_path), CacheEpoch())
    await services.start()
    missing = await services.why_not_ready(asyncio.get_running_loop().time() + 5)
    await services.close()

    assert missing == "the inference server does not answer"
