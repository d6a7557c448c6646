"""An image that is put and deleted at the same time: what is found has its file, in every order."""

from collections.abc import Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager, suppress
from itertools import permutations
from pathlib import Path

import pytest

from common.errors import ServiceError
from tests.unit.common.test_uploads import DATA, FAILED, NAME, UNKNOWN, files, id_of, uploads

Step = Callable[[], Awaitable[None]]


class World:
    """An index of one image, and what is done to it, step by step."""

    def __init__(self, folder: Path, *, is_there: bool) -> None:
        self.uploads = uploads(folder)
        self.is_there = is_there
        """Whether the log has the image after what it has now."""
        if is_there:
            self.uploads.keep(DATA)

    def put(self) -> list[Step]:
        """Keep the file, write to the log, look for the file."""
        putting: AbstractAsyncContextManager[None] | None = None

        async def keep() -> None:
            nonlocal putting
            putting = self.uploads.putting(self.uploads.keep(DATA))
            await putting.__aenter__()

        async def write() -> None:
            self.is_there = True

        async def look() -> None:
            assert putting is not None
            await putting.__aexit__(None, None, None)

        return [keep, write, look]

    def delete(self, *, fails: bool = False) -> list[Step]:
        """Set the file aside, write to the log, delete it or bring it back."""
        deleting = self.uploads.deleting(id_of(NAME))
        error: ServiceError | None = FAILED if fails else None

        async def write() -> None:
            nonlocal error
            if not fails:
                error, self.is_there = None if self.is_there else UNKNOWN, False

        async def end() -> None:
            with suppress(ServiceError):
                await deleting.__aexit__(type(error) if error else None, error, None)

        async def begin() -> None:
            await deleting.__aenter__()

        return [begin, write, end]


def orders(*counts: int) -> Iterator[tuple[int, ...]]:
    """All orders of the steps of several, by who does the next step."""
    return iter(set(permutations([who for who, count in enumerate(counts) for _ in range(count)])))


@pytest.mark.parametrize("is_there", [True, False])
@pytest.mark.parametrize("fails", [True, False])
async def test_an_image_that_is_put_has_its_file_whoever_deletes_it(
    tmp_path: Path, is_there: bool, fails: bool
) -> None:
    """In every order of the steps of a put and a deletion; nothing is left beside."""
    for number, order in enumerate(orders(3, 3)):
        world = World(folder := tmp_path / str(number), is_there=is_there)
        steps = [iter(world.put()), iter(world.delete(fails=fails))]
        for who in order:
            await next(steps[who])()
        assert files(folder) == [folder / NAME] or not world.is_there, order
        assert all(path.name == Path(NAME).name for path in files(folder)), order


async def test_deletions_at_the_same_time_leave_the_file_of_what_was_put(tmp_path: Path) -> None:
    """One of them fails, in every order of their beginnings and ends."""
    for number, order in enumerate(orders(2, 2, 2)):
        world = World(folder := tmp_path / str(number), is_there=True)
        parts = [world.put(), world.delete(), world.delete(fails=True)]
        steps = [iter(together(part)) for part in parts]
        for who in order:
            await next(steps[who])()
        assert files(folder) == [folder / NAME] or not world.is_there, order


def together(steps: list[Step]) -> list[Step]:
    """The steps, with the last two as one."""
    *others, write, end = steps

    async def both() -> None:
        await write()
        await end()

    return [*others, both]
