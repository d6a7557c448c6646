"""What becomes of a write: which entry, in which order, and when it is refused."""

import asyncio
from pathlib import Path

import msgspec
import pytest

from common.errors import BadRequest, NotFound, NotImplementedHere, Unavailable
from common.wire import pack_rows
from middle.write_messages import MAX_FIELDS, Metadata
from middle.writes import FAILED
from search.log import Entry
from search.messages import Record
from tests.unit.middle.writing import CONTENT, IMAGE, KNOWN, CountingLog, Writing, run, soon
from tests.unit.shards import RECORD, SPACE, VECTOR


@pytest.fixture
def log(tmp_path: Path) -> CountingLog:
    """A new log."""
    return CountingLog(tmp_path / "log.sqlite")


def test_a_put_is_an_entry_with_all_that_an_index_holds(log: CountingLog) -> None:
    """The key, the vector and its space, the record."""

    async def use(one: Writing) -> None:
        written = await one.put()
        assert written.id.startswith(CONTENT)
        assert written.position == one.state.position() == 1

    (entry,) = run(log, use).entries()
    assert (entry.op, entry.space, entry.vector) == ("put", SPACE, pack_rows(VECTOR))
    assert entry.key.hex().startswith(CONTENT)
    assert entry.key.hex().endswith(f"{len(IMAGE.image):016x}")
    assert msgspec.msgpack.decode(entry.record, type=Record) == Record(
        "a.jpg", {"stock": 3}, 1, facts={"size": 5}
    )


def test_writes_that_come_together_are_one_transaction(log: CountingLog) -> None:
    """Each knows its own position; those that come meanwhile are the next one."""

    async def use(one: Writing) -> None:
        puts = [one.put(content=f"{number:016x}") for number in range(50)]
        found = await asyncio.gather(*puts)
        assert sorted(written.position for written in found) == list(range(1, 51))
        at = {written.position: written.id for written in found}
        keys = [entry.key[:16].hex() for entry in one.entries()]
        assert keys == [at[position] for position in range(1, 51)]

    run(log, use)
    assert len(log.batches) < 10


def test_a_patch_and_a_delete_name_the_image(log: CountingLog) -> None:
    """By its id; a patch says what changes, and null removes."""

    async def use(one: Writing) -> None:
        await one.writes.patch(KNOWN, {"stock": 0, "year": None}, soon())
        assert (await one.writes.delete(KNOWN, soon())).position == 2

    patch, delete = run(log, use).entries()
    assert (patch.op, patch.key.hex()) == ("patch", KNOWN)
    assert msgspec.msgpack.decode(patch.record) == {"stock": 0, "year": None}
    assert (delete.op, delete.key.hex(), delete.record) == ("delete", KNOWN, b"")


def test_what_is_not_there_is_told_where_the_log_ends(log: CountingLog) -> None:
    """404, and nothing is written; a server that has not come so far decides nothing."""

    async def use(one: Writing) -> None:
        await one.put()
        one.server.deleted.add(KNOWN)
        for change in (one.writes.delete(KNOWN, soon()), one.writes.patch(KNOWN, {}, soon())):
            with pytest.raises(NotFound):
                await change
        one.server.position = 0
        with pytest.raises(Unavailable):
            await one.writes.delete(KNOWN, soon() - 9.8)
        deleting = asyncio.create_task(one.writes.delete(KNOWN, soon()))
        await asyncio.sleep(0.05)
        one.server.position = 1
        with pytest.raises(NotFound):
            await deleting
        with pytest.raises(BadRequest):
            await one.writes.delete(KNOWN[:13], soon())

    assert len(run(log, use).entries()) == 1


def test_an_image_is_looked_for_again_where_the_log_ends(log: CountingLog) -> None:
    """Before it is told that there is none: a server may lag behind its put."""

    async def use(one: Writing) -> None:
        await one.put()
        one.server.deleted.add(KNOWN)
        with pytest.raises(NotFound):
            await one.writes.find(KNOWN, 0, soon())
        assert one.server.lookups == 2
        with pytest.raises(NotFound):
            await one.writes.find(KNOWN, 1, soon())
        assert one.server.lookups == 3
        log.failure = Unavailable("locked", "log_unavailable")
        with pytest.raises(NotFound):
            await one.writes.find(KNOWN, 0, soon())

    run(log, use)


def test_who_wrote_to_a_log_that_is_no_more_finds_what_is_there(log: CountingLog) -> None:
    """No server comes to that position again."""

    async def use(one: Writing) -> None:
        await one.put()
        one.server.position = 1
        assert await one.writes.find(KNOWN, 5000, soon())
        one.server.deleted.add(KNOWN)
        with pytest.raises(NotFound):
            await one.writes.find(KNOWN, 5000, soon())
        log.failure = Unavailable("locked", "log_unavailable")
        with pytest.raises(Unavailable):
            await one.writes.find(KNOWN, 5000, asyncio.get_running_loop().time() + 0.2)

    run(log, use)


def test_the_changed_metadata_has_the_limits_of_a_put(log: CountingLog) -> None:
    """A field may take the place of another."""
    field: Metadata = {f"field-{number}": number for number in range(MAX_FIELDS)}
    assert len(RECORD.metadata) == 1

    async def use(one: Writing) -> None:
        with pytest.raises(BadRequest, match="65 fields"):
            await one.writes.patch(KNOWN, field, soon())
        del field["field-0"]
        await one.writes.patch(KNOWN, field | dict.fromkeys(RECORD.metadata), soon())

    run(log, use)


def test_a_log_that_fails_is_told_in_our_words(log: CountingLog) -> None:
    """503, and never what the database said."""
    log.failure = Unavailable("/secret/log.sqlite is locked", "log_unavailable")

    async def use(one: Writing) -> None:
        for write in (one.put(), one.writes.delete(KNOWN, soon())):
            with pytest.raises(Unavailable) as told:
                await write
            assert (told.value.code, told.value.detail) == ("log_unavailable", FAILED)

    run(log, use)


def test_a_log_that_no_server_follows_is_not_written(log: CountingLog, tmp_path: Path) -> None:
    """503: nobody would find what was put. One that is gone is not made anew."""

    async def use(one: Writing) -> None:
        one.server.log_id = "theirs"
        await one.state.start()
        while not one.state.followed():
            await asyncio.sleep(0.01)
        await refused(one)
        assert not (tmp_path / "log.sqlite").exists()
        log.append([Entry("delete", bytes(16))])
        await refused(one)
        one.server.log_id = log.id()
        one.server.position = 2  # the log was put back from a copy that lacks an entry
        while one.state.followed() != {log.id(): 2}:
            await asyncio.sleep(0.01)
        await refused(one)
        one.server.position = 1
        while one.state.followed() != {log.id(): 1}:
            await asyncio.sleep(0.01)
        assert (await one.writes.delete(KNOWN, soon())).position == 2
        await one.state.close()

    async def refused(one: Writing) -> None:
        changes = one.writes.patch(KNOWN, {}, soon()), one.writes.delete(KNOWN, soon())
        for write in (one.put(), *changes):
            with pytest.raises(Unavailable) as told:
                await write
            assert (told.value.code, told.value.detail) == ("log_unavailable", FAILED)

    run(log, use)


def test_without_a_log_nothing_is_written() -> None:
    """501, before anything is embedded; an image is found all the same."""

    async def use(one: Writing) -> None:
        changes = one.writes.patch(KNOWN, {}, soon()), one.writes.delete(KNOWN, soon())
        for write in (one.put(), *changes):
            with pytest.raises(NotImplementedHere) as told:
                await write
            assert told.value.code == "no_log"
        assert await one.writes.find(KNOWN, 0, soon())
        assert not one.inference.images

    run(None, use)


def test_what_has_no_place_or_another_model_is_refused(log: CountingLog) -> None:
    """A full delta before the embedding; a vector of another space after it."""

    async def use(one: Writing) -> None:
        one.server.space = "another"
        with pytest.raises(Unavailable) as told:
            await one.put()
        assert told.value.code == "model_mismatch"
        one.server.delta_rows = 10
        await one.state.start()
        while not one.state.delta_rows():
            await asyncio.sleep(0.01)
        with pytest.raises(Unavailable) as told:
            await one.put()
        assert told.value.code == "live_full"
        assert len(one.inference.images) == 1
        await one.writes.delete(KNOWN, soon())
        await one.state.close()

    assert len(run(log, use).entries()) == 1


def test_a_position_that_nobody_was_told_is_refused(log: CountingLog) -> None:
    """One that the log has is not, nor any while the log cannot be asked."""

    async def use(one: Writing) -> None:
        log.append([Entry("delete", bytes(16))])
        await one.writes.check_position(1, soon())
        with pytest.raises(BadRequest, match="ends at 1"):
            await one.writes.check_position(2, soon())
        log.failure = Unavailable("locked", "log_unavailable")
        await one.writes.check_position(2, soon())

    run(log, use)
