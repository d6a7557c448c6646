"""Putting a version in use while search servers run."""

import asyncio
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from common.config import Inside as InsideSettings
from common.config import Search
from common.errors import ConfigError
from common.http_client import NotConnected, Reply
from common.internal_auth import InternalAuth
from common.wire import encode
from prepare import rollout
from prepare.rollout import WAIT_S, roll_out
from prepare.versions import current_of, put_in_use
from search.messages import Info
from tests.unit.fake_http import FakeHttp, failing, hang, saying
from tests.unit.indexing import folders_in, write_version

ADDRESSES = ("server-0:80", "server-1:80")
VECTORS = np.eye(4, dtype=np.float32)


class Rollout:
    """Version 1 is in use, and version 2 is to be; nobody listens."""

    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folders = folders_in(root)
        self.one, self.two = (
            write_version(self.folders, f"v00000{n}", VECTORS, inputs=f"{n}") for n in (1, 2)
        )
        put_in_use(self.folders, self.one.named, 2)
        self.inside = InternalAuth(InsideSettings(), root)
        self.http = FakeHttp(dict.fromkeys(ADDRESSES, failing(NotConnected("down"))), "/none")
        monkeypatch.setattr(rollout, "HttpClient", lambda _inside: self.http.client)

    def run(self) -> str:
        """Hand over to version 2; returns what is in use then."""
        roll_out(self.folders, self.two, Search(ADDRESSES), 2, self.inside)
        return self.in_use()

    def in_use(self) -> str:
        current = current_of(self.folders)
        assert current is not None
        return current.now.version

    def follow(self, address: str, **changes: Any) -> None:
        """Have a server take what is in use, or tell something else once that is version 2."""

        async def answer() -> Reply:
            newest = self.two if self.in_use() == "v000002" else self.one
            told: dict[str, Any] = {"version_digest": newest.sha256, "space": "space"}
            if newest is self.two or "space" in changes:
                told |= changes
            info = Info("v", told["space"], "clip", 4, 4, [0], 1, told["version_digest"])
            info.refused, info.reason = told.get("refused", ""), told.get("reason", "")
            return Reply(200, {}, encode(info))

        self.http.answers[address] = answer


@pytest.fixture
def handing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Rollout:
    """Version 1 is in use."""
    return Rollout(tmp_path, monkeypatch)


def test_without_servers_a_version_is_put_in_use_at_once(handing: Rollout) -> None:
    """Each was asked whether it is there."""
    assert handing.run() == "v000002"
    assert handing.http.count() == {ADDRESSES[0]: 1, ADDRESSES[1]: 1}
    assert handing.http.is_closed


def test_the_first_version_is_handed_to_nobody(handing: Rollout) -> None:
    """Nor is one that is in use already."""
    roll_out(handing.folders, handing.one, Search(ADDRESSES), 2, handing.inside)

    assert handing.http.sent == []


def test_servers_that_take_it_end_the_waiting(handing: Rollout) -> None:
    """One of them is not there."""
    handing.follow(ADDRESSES[0])

    assert handing.run() == "v000002"


def test_one_that_refuses_it_brings_the_version_before_back(handing: Rollout) -> None:
    """With the reason that it tells."""
    handing.follow(ADDRESSES[0])
    handing.follow(
        ADDRESSES[1],
        version_digest=handing.one.sha256,
        refused=handing.two.sha256,
        reason="no memory",
    )
    with pytest.raises(ConfigError, match=r"refused v000002: no memory; v000001 is in use again"):
        handing.run()

    assert handing.in_use() == "v000001"


def test_servers_of_another_index_or_model_are_not_waited_for(
    handing: Rollout, caplog: pytest.LogCaptureFixture
) -> None:
    """The one is none of ours, the other is started anew by the operator."""
    handing.follow(ADDRESSES[0], space="another", version_digest=handing.one.sha256)
    handing.http.answers[ADDRESSES[1]] = saying(b"nonsense")

    assert handing.run() == "v000002"
    assert "is of another model" in caplog.text
    assert "is not waited for" in caplog.text


async def test_one_that_takes_too_long_is_left_behind(
    handing: Rollout, caplog: pytest.LogCaptureFixture
) -> None:
    """It is named; one that goes meanwhile is not waited for."""
    handing.http.answers[ADDRESSES[0]] = hang
    began = asyncio.get_running_loop().time()
    assert await rollout._wait(ADDRESSES, handing.two.named, handing.inside) is None

    assert WAIT_S <= asyncio.get_running_loop().time() - began < WAIT_S + 10
    assert f"{ADDRESSES[0]} has not taken v000002 yet" in caplog.text
    assert f"{ADDRESSES[1]} has gone" in caplog.text
