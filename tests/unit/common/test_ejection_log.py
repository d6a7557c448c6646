"""What the log says of replicas that are ejected and readmitted."""

import asyncio

import pytest

from common.replicas import MAX_FAILURES, PROBE_EVERY_S, PROBE_S
from tests.unit.common.test_replicas import DOWN, fail, replica_set, servers
from tests.unit.fake_http import saying


async def test_a_replica_that_starts_with_us_is_ejected_without_a_warning(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """And one that has answered is ejected with one; that it is back is only told."""
    http = servers(2)
    http.starting = {"server-0:80"}
    replicas = replica_set(http)
    for replica in replicas.all:
        http.probes[replica.address] = DOWN
        fail(replicas, replica)
        http.probes[replica.address] = saying()
        await asyncio.sleep(PROBE_S + PROBE_EVERY_S)

    assert [not one.is_ejected for one in replicas.all] == [True, True]
    assert [record.message for record in caplog.records if record.levelname == "WARNING"] == [
        f"unit: server-1:80 is ejected: {MAX_FAILURES} failures in a row"
    ]
