"""Answers that front keeps: for how long, under which cache version, and up to how many bytes."""

import asyncio
import json
from typing import Any, cast

import pytest

from common.cache_epoch import CacheEpoch
from common.config import Config, Front, Middle
from common.http_client import Reply
from devtools.fake_clock import FakeClock
from front.answer_cache import ENTRY_BYTES, MAX_AGE_S, POLL_S, AnswerCache, answer_key
from front.query import SearchQuery
from middle.client import MiddleClient

KEY = b"key"
BODY = json.dumps({"hits": [1, 2], "took_ms": {"total": 7.0}, "request_id": "first"}).encode()


class FakeMiddle:
    """Says its cache versions, or fails."""

    def __init__(self, *versions: str) -> None:
        self.versions = list(versions)
        self.failure: Exception | None = None

    async def cache_versions(self) -> list[str]:
        if self.failure:
            raise self.failure
        return self.versions


class Keeping:
    """A cache that knows version 1."""

    def __init__(self, **middle: Any) -> None:
        self.clock = FakeClock()
        self.epoch = CacheEpoch()
        self.config = Config(front=Front(answer_cache_bytes=10_000), middle=Middle(**middle))
        self.middle = FakeMiddle("1")
        self.answers = AnswerCache(self.config, self.epoch, self.clock)

    async def poll(self) -> None:
        """Let it ask middle once more."""
        await self.answers.close()
        await self.answers.start(cast(MiddleClient, self.middle))
        await asyncio.sleep(POLL_S / 2)

    def keep(self, version: str | None = "1", age_s: int = 0, key: bytes = KEY) -> None:
        headers = {"Age": str(age_s)} | ({"X-Cache-Version": version} if version else {})
        self.answers.keep(key, Reply(200, headers, BODY), self.epoch.read())


async def test_a_kept_answer_is_as_it_came_but_for_its_request() -> None:
    """With an id and a time of its own."""
    keeping = Keeping()
    await keeping.poll()
    keeping.keep(age_s=5)
    keeping.clock.advance(2)
    kept = keeping.answers.get(KEY)

    assert kept is not None
    answer = json.loads(kept.body("second", keeping.clock()))
    assert answer["hits"] == [1, 2]
    assert answer["request_id"] == "second"
    assert answer["took_ms"]["embed"] == answer["took_ms"]["search"] == 0
    assert keeping.answers.age_s(kept) == 7
    await keeping.answers.close()


async def test_an_answer_without_a_cache_version_is_not_kept() -> None:
    """It is degraded, or middle keeps nothing."""
    keeping = Keeping()
    await keeping.poll()
    keeping.keep(version=None)

    assert keeping.answers.get(KEY) is None
    await keeping.answers.close()


async def test_an_answer_counts_while_a_middle_has_its_cache_version() -> None:
    """Each middle may have its own; one that fails has none."""
    keeping = Keeping()
    keeping.keep()
    assert keeping.answers.get(KEY) is None  # nobody was asked yet
    keeping.middle.versions = ["2", "1"]
    await keeping.poll()
    assert keeping.answers.get(KEY) is not None
    keeping.middle.versions = ["2"]
    await asyncio.sleep(POLL_S)
    assert keeping.answers.get(KEY) is None
    keeping.middle.versions = ["1"]
    await asyncio.sleep(POLL_S)
    assert keeping.answers.get(KEY) is not None
    keeping.middle.failure = RuntimeError("broken")
    await asyncio.sleep(POLL_S)
    assert keeping.answers.get(KEY) is None
    keeping.middle.failure = None
    await asyncio.sleep(POLL_S)
    assert keeping.answers.get(KEY) is not None
    await keeping.answers.close()


@pytest.mark.parametrize(
    ("policy", "age_s", "lifetime_s"),
    [("idle", 90, MAX_AGE_S), ("lru", 500, MAX_AGE_S), ("absolute", 0, 60), ("absolute", 90, 10)],
)
async def test_an_answer_is_kept_no_longer_than_middle_keeps_it(
    policy: str, age_s: int, lifetime_s: float
) -> None:
    """A minute, or what is left of an expiry that use does not prolong."""
    keeping = Keeping(cache_policy=policy, cache_expiry_s=100)
    await keeping.poll()
    keeping.keep(age_s=age_s)
    keeping.clock.advance(lifetime_s - 1)
    assert keeping.answers.get(KEY) is not None
    keeping.clock.advance(2)
    assert keeping.answers.get(KEY) is None
    await keeping.answers.close()


async def test_a_purge_reaches_every_worker_process_and_what_is_under_way() -> None:
    """They share the epoch."""
    keeping = Keeping()
    other = AnswerCache(keeping.config, keeping.epoch, keeping.clock)
    await keeping.poll()
    keeping.keep()
    before = keeping.epoch.read()
    other.purge()
    assert keeping.answers.get(KEY) is None

    keeping.answers.keep(KEY, Reply(200, {"X-Cache-Version": "1"}, BODY), before)
    assert keeping.answers.get(KEY) is None
    keeping.keep()
    assert keeping.answers.get(KEY) is not None
    await keeping.answers.close()


async def test_the_answers_used_least_recently_make_room() -> None:
    """And none that is larger than all there may be is kept."""
    keeping = Keeping()
    await keeping.poll()
    room = 10_000 // (ENTRY_BYTES + len(BODY))
    for number in range(room + 1):
        keeping.keep(key=bytes([number]))
    assert keeping.answers.get(bytes([0])) is None
    assert all(keeping.answers.get(bytes([number])) for number in range(1, room + 1))
    await keeping.answers.close()


def test_equal_queries_have_equal_keys() -> None:
    """An image has none, nor has the address of one."""
    red = SearchQuery(text="red")
    assert answer_key(red) == answer_key(SearchQuery(text="red", k=10))
    part = SearchQuery(id="a", region=(0, 0, 0.5, 1))
    others = (red, SearchQuery(text="red", k=3), SearchQuery(id="a"), part)
    assert len({answer_key(query) for query in others}) == 4
    assert answer_key(SearchQuery(image=b"image")) is None
    assert answer_key(SearchQuery(image_url="https://photos.example/1")) is None
