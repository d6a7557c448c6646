"""Replicas swap one after the other, and every answer meanwhile is full and of one version.

Kind J: nothing is lost while a replica is late, hangs or is dead.
"""

import re
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest

from devtools.collection import Collection
from devtools.services import Service, hanging, wait_until
from tests.chaos.swaps import asking, beside, change, follow, replicated, until_line

ANSWERS = 400
"""Between the swaps of two replicas: more than a second of queries."""
LOADED = re.compile(r'time=(\S+) .* msg="version v000002: .*, loaded in (\S+) s"')
SLACK_S = 0.05
"""A version is in use just before its line is logged."""


def load_times(service: Service) -> tuple[float, float]:
    """When a server began and ended to load version 2."""
    (found,) = filter(None, map(LOADED.match, service.output))
    end_s = datetime.fromisoformat(found[1]).timestamp()
    return end_s - float(found[2]), end_s


@pytest.mark.parametrize("late", [0, 1])
def test_replicas_load_one_after_the_other(late: int, tmp_path: Path) -> None:
    """One of each server is late to hear of a version. If it is the first, the other one waits.

    If it is the second, the two hold different versions for more than a second.
    """
    collection = Collection(tmp_path, images=60, shards=2)
    folder, name = collection.folder, beside(tmp_path)
    apart = {(server, late): {"index_dir": name} for server in range(2)}
    with replicated(collection, 2, apart) as system:
        told = "load v000002 first" if late == 0 else "version v000002"
        with asking(system), ThreadPoolExecutor() as pool:
            system.until("v000001")
            change(system, np.random.default_rng(0), 0)
            preparing = pool.submit(collection.prepare)
            for server in range(2):
                until_line(system.search[2 * server + 1 - late], told)
            between = len(system.asked)
            wait_until(lambda: len(system.asked) > between + ANSWERS)
            versions = {asked.answer["index_version"] for asked in system.asked[between:]}
            follow(folder)
            system.learn(preparing.result())

        assert late or versions == {"v000001"}
        system.check()
        for server in range(2):
            first, second = (load_times(one) for one in system.search[2 * server :][:2])
            assert first[1] - SLACK_S <= second[0]


@pytest.mark.parametrize("fault", ["dead", "hangs"])
def test_a_replica_does_not_wait_for_ever(fault: str, tmp_path: Path) -> None:
    """For one that is dead not at all, for one that hangs a while; its twin answers all."""
    collection = Collection(tmp_path, images=60, shards=2)
    with replicated(collection, 2, reload_s=0.02) as system:
        first = system.search[0]
        with asking(system):
            system.until("v000001")
            hung: AbstractContextManager[None] = nullcontext()
            if fault == "hangs":
                hung = hanging(first)
            else:
                first.kill()
            with hung:
                change(system, np.random.default_rng(0), 0)
                system.learn(collection.prepare())
                until_line(system.search[1], "version v000002")
                system.until("v000002")

        system.check()
        waited = any("load v000002 first" in line for line in system.search[1].output)
        assert waited is (fault == "hangs")
