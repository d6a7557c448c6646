"""Labels: embedded once, in waves, by one tower, one long list at a time."""

import asyncio
from typing import cast

import numpy as np
import pytest

from common.errors import BadRequest, DeadlineExceeded, ServiceError
from middle.embed import Embedded, Embedder
from middle.labels import LABEL_BATCH, TEMPLATE, Labels
from middle.messages import ModelChoice
from tests.unit.embedding import FakeEmbedder
from tests.unit.shards import SPACE

LONG = [f"label {n}" for n in range(2 * LABEL_BATCH + 10)]


class Asked:
    """Labels with an embedder that notes what it is asked."""

    def __init__(self) -> None:
        self.embedder = FakeEmbedder()
        self.labels = Labels(cast(Embedder, self.embedder))

    async def embed(
        self,
        labels: list[str],
        seconds: float = 60.0,
        choice: ModelChoice = "clip",
        template: str | None = "{}",
        space: str | None = None,
    ) -> tuple[list[Embedded], list[str]]:
        deadline = asyncio.get_running_loop().time() + seconds
        return await self.labels.embed(labels, template, choice, deadline, space)

    def sizes(self) -> list[int]:
        return [len(texts) for _, texts in self.embedder.batches]


async def test_labels_stand_in_their_template() -> None:
    """Or in CLIP's own."""
    asked = Asked()
    await asked.embed(["cat"], template="a drawing of a {}")
    await asked.embed(["cat"], template=None)

    texts = [texts for _, texts in asked.embedder.batches]
    assert texts == [["a drawing of a cat"], [TEMPLATE.replace("{}", "cat")]]


async def test_what_was_embedded_is_kept() -> None:
    """Only what is new is asked for; the vector is a copy, which keeps no reply alive."""
    asked = Asked()
    await asked.embed(["cat", "dog"])
    found, warnings = await asked.embed(["cat", "dog", "cow"])

    assert [texts for _, texts in asked.embedder.batches] == [["cat", "dog"], ["cow"]]
    assert len(found) == 3
    assert warnings == []
    assert not np.shares_memory(found[0].vector, asked.embedder.embedded.vector)


async def test_what_is_of_another_space_is_made_anew() -> None:
    """After the model was changed."""
    asked = Asked()
    await asked.embed(["cat"])
    await asked.embed(["cat"], space=SPACE)
    await asked.embed(["cat"], space="other")

    assert asked.sizes() == [1, 0, 1]


async def test_what_is_of_another_text_tower_is_made_anew() -> None:
    """Its space is still that of the images."""
    asked = Asked()
    await asked.embed(["cat"])
    asked.embedder.embedded = asked.embedder.embedded._replace(digest="digest of another")
    found, _ = await asked.embed(["cat", "dog"])

    assert asked.sizes() == [1, 2]
    assert {label.digest for label in found} == {"digest of another"}


async def test_a_long_list_goes_in_waves() -> None:
    """So that other queries get between them."""
    asked = Asked()
    found, _ = await asked.embed(LONG)

    assert len(found) == len(LONG)
    assert asked.sizes() == [LABEL_BATCH, LABEL_BATCH, 10]


async def test_long_lists_take_turns() -> None:
    """Two queries for the same list embed it once."""
    asked = Asked()
    await asyncio.gather(asked.embed(LONG), asked.embed(LONG))

    assert sum(asked.sizes()) == len(LONG)


async def test_short_lists_wait_for_no_turn() -> None:
    """They go while a long one is under way."""
    asked = Asked()
    long = asyncio.ensure_future(asked.embed(LONG))
    await asyncio.sleep(0.5)
    began = asyncio.get_running_loop().time()
    await asked.embed(["cat"])

    assert asyncio.get_running_loop().time() - began == pytest.approx(1)
    await long


async def test_who_waits_for_a_turn_too_long_gives_up_alone() -> None:
    """The turn goes on to the next, and what the first wave made stays kept."""
    asked = Asked()
    long = asyncio.ensure_future(asked.embed(LONG))
    await asyncio.sleep(0.5)
    with pytest.raises(DeadlineExceeded):
        await asked.embed([*LONG, "one"], seconds=1.0)
    await long
    await asked.embed([*LONG, "two"])

    assert asked.sizes() == [LABEL_BATCH, LABEL_BATCH, 10, 1]


async def test_a_failed_wave_gives_its_turn_back() -> None:
    """The others of it are kept."""
    asked = Asked()
    asked.embedder.errors["clip label 1"] = BadRequest("too long")
    with pytest.raises(ServiceError, match="label 1: too long"):
        await asked.embed(LONG)
    asked.embedder.errors.clear()
    await asked.embed(LONG)

    assert asked.sizes() == [LABEL_BATCH, LABEL_BATCH, 11]


async def test_a_missing_tower_is_replaced_where_none_was_chosen() -> None:
    """By clip, with a warning; who chose it is told."""
    asked = Asked()
    missing = BadRequest("there is no mclip", "model_unavailable")
    asked.embedder.errors["mclip кошка"] = missing
    found, warnings = await asked.embed(["кошка"], choice="auto")

    assert len(found) == 1
    assert [choice for choice, _ in asked.embedder.batches] == ["mclip", "clip"]
    assert warnings == ["there is no mclip; answered by clip, which may not know the language"]
    with pytest.raises(BadRequest, match="there is no mclip"):
        await asked.embed(["кошка"], choice="mclip")


async def test_labels_are_judged_as_they_are_embedded() -> None:
    """Kind F: by plain letters; emoji are for mclip, and no language that clip may not know."""
    asked = Asked()
    await asked.embed(["\uff23\uff21\uff34"], choice="auto")
    asked.embedder.errors["mclip 🐱"] = BadRequest("there is no mclip", "model_unavailable")
    _, warnings = await asked.embed(["🐱"], choice="auto")

    assert [choice for choice, _ in asked.embedder.batches] == ["clip", "mclip", "clip"]
    assert warnings == []


async def test_the_same_warning_of_many_labels_is_told_once() -> None:
    """By the place of the first, and how many more."""
    asked = Asked()
    asked.embedder.embedded = asked.embedder.embedded._replace(warnings=("cut",))
    _, warnings = await asked.embed(["a", "b", "c"])
    _, warning = await asked.embed(["d"])

    assert warnings == ["label 0 and 2 more: cut"]
    assert warning == ["label 0: cut"]
