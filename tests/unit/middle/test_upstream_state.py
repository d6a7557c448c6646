"""What middle knows of the index and the models behind it."""

import asyncio
from typing import cast

from common.cache_epoch import CacheEpoch
from common.errors import Unavailable
from inference.client import InferenceClient
from middle.upstream_state import ABSENT, INTERVAL_S, TIMEOUT_S, Index, UpstreamState
from tests.unit.embedding import FakeInference
from tests.unit.shards import SPACE, FakeServer, down, fan_out_of


class Behind:
    """An inference server and a search server, watched."""

    def __init__(self) -> None:
        self.inference = FakeInference(clip="1", mclip="2")
        self.search = FakeServer([0, 1])
        inference = cast(InferenceClient, self.inference)
        self.epoch = CacheEpoch()
        self.state = UpstreamState(inference, fan_out_of(self.search), self.epoch)

    async def look(self) -> None:
        await asyncio.sleep(2 * INTERVAL_S)

    def known(self) -> tuple[Index | None, str | None, str | None]:
        return self.state.index(), self.state.digest("clip"), self.state.digest("mclip")


V1 = Index("v1", "digest of v1")


async def test_nothing_is_known_before_anyone_answers() -> None:
    """None, which is not the same as absent."""
    behind = Behind()
    behind.search.error = down()
    behind.inference.error = Unavailable("down")
    await behind.state.start()
    await behind.look()

    assert behind.known() == (None, None, None)
    await behind.state.close()


async def test_what_is_behind_is_asked_again_and_again() -> None:
    """A new version and another model are noticed."""
    behind = Behind()
    await behind.state.start()
    await behind.look()
    assert behind.known() == (V1, "1", "2")
    behind.search.versions.insert(0, "v2")
    behind.inference.digests = {"clip": "3"}
    await behind.look()

    assert behind.known() == (Index("v2", "digest of v2"), "3", ABSENT)
    assert behind.state.digest("sam") == ABSENT
    behind.inference.digests["sam"] = "4"
    await behind.look()
    assert behind.state.digest("sam") == "4"
    await behind.state.close()


async def test_a_server_that_does_not_answer_changes_nothing() -> None:
    """What it said last is taken to hold."""
    behind = Behind()
    await behind.state.start()
    await behind.look()
    behind.search.error = down()
    behind.inference.error = Unavailable("down")
    await behind.look()

    assert behind.known() == (V1, "1", "2")
    await behind.state.close()


async def test_a_hung_search_server_does_not_hide_the_models() -> None:
    """It is waited for a second."""
    behind = Behind()
    behind.search.after_s = 3600
    await behind.state.start()
    await behind.look()

    assert behind.known() == (None, "1", "2")
    await behind.state.close()


async def test_a_hung_inference_server_does_not_delay_what_search_tells() -> None:
    """What was written or swapped is heard of each second, though the models say nothing."""
    behind = Behind()
    behind.inference.is_hung = True
    await behind.state.start()
    await behind.look()
    behind.search.versions.insert(0, "v2")
    await asyncio.sleep(TIMEOUT_S + INTERVAL_S)

    assert behind.known() == (Index("v2", "digest of v2"), None, None)
    await behind.state.close()


async def test_a_model_without_a_digest_is_not_known() -> None:
    """An older server says none: then nothing is kept of what it makes."""
    behind = Behind()
    await behind.state.start()
    await behind.look()
    behind.inference.digests["clip"] = ""
    await behind.look()

    assert behind.state.digest("clip") is None
    await behind.state.close()


async def test_an_unforeseen_error_does_not_end_the_watching() -> None:
    """It is logged, and a second later all is asked again."""
    behind = Behind()
    behind.search.error = ValueError("odd")
    await behind.state.start()
    await behind.look()
    behind.search.error = None
    await behind.look()

    assert behind.known() == (V1, "1", "2")
    await behind.state.close()


async def test_the_position_is_the_last_that_anyone_knows() -> None:
    """A search server, this worker or another one; it never goes back."""
    behind = Behind()
    assert (behind.state.position(), behind.state.delta_rows()) == (0, 0)
    assert behind.state.space() is None
    behind.search.position = 5
    behind.search.delta_rows = 6  # of two shards
    await behind.state.start()
    await behind.look()
    assert (behind.state.position(), behind.state.delta_rows()) == (5, 3)
    assert behind.state.space() == SPACE
    behind.state.note(7)
    assert behind.state.position() == 7
    behind.epoch.advance(9)
    behind.state.note(8)
    assert behind.state.position() == 9
    await behind.state.close()


async def test_positions_of_another_log_count_no_more() -> None:
    """It was lost, and the servers follow a new one; one after the other."""
    behind = Behind()
    behind.search.position, behind.search.log_id = 5, "old"
    await behind.state.start()
    await behind.look()
    behind.state.note(7)
    behind.search.log_id = ""
    await behind.look()
    assert behind.state.position() == 7
    behind.search.position, behind.search.log_id = 2, "new"
    await behind.look()
    assert behind.state.position() == 2
    behind.state.note(4)
    await behind.look()
    assert behind.state.position() == 4
    await behind.state.close()


async def test_closing_ends_the_watching() -> None:
    """Nothing new is learnt; one that was never started may be closed."""
    behind = Behind()
    await behind.state.start()
    await behind.look()
    await behind.state.close()
    behind.search.versions.insert(0, "v2")
    await behind.look()

    assert behind.state.index() == V1
    await Behind().state.close()
