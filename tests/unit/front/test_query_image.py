"""The file that a query means by an id or an address."""

import asyncio
from pathlib import Path
from typing import Any, cast

import pytest

from common.errors import Gone, ServiceError, TooLarge
from common.files import content_hash
from common.keys import Keys
from front.query import SearchQuery
from front.query_image import QueryImages
from middle.messages import Image

DATA = b"the file of an image"
ID = content_hash(DATA) + 16 * "0"
LEFT = (0.0, 0.0, 0.5, 1.0)


class FakeMiddle:
    """Knows one image; runs what is asked of it at once."""

    def __init__(self) -> None:
        self.deadlines: list[float] = []

    async def image(self, image_id: str, deadline: float) -> Image:
        self.deadlines.append(deadline)
        return Image(image_id, "picture.png", {}, "picture.png")

    def run(self, asking: Any) -> Any:
        return asyncio.run(asking)


@pytest.fixture
def middle(tmp_path: Path) -> FakeMiddle:
    (tmp_path / "picture.png").write_bytes(DATA)
    return FakeMiddle()


def at_7() -> float:
    return 7.0


def images(middle: FakeMiddle, root: Path, max_bytes: int = 100) -> QueryImages:
    fake = cast(Any, middle)
    return QueryImages(fake, fake, None, Keys(None), root, max_bytes)


def test_a_region_of_an_id_is_one_of_its_file(middle: FakeMiddle, tmp_path: Path) -> None:
    """Middle is asked for its path within the query's deadline, and then embeds the region."""
    query, deadline = images(middle, tmp_path).fill(SearchQuery(id=ID, region=LEFT, k=3), at_7)

    assert query == SearchQuery(image=DATA, region=LEFT, k=3)
    assert deadline == 7.0
    assert middle.deadlines == [7.0]


@pytest.mark.parametrize("fields", [{"id": ID}, {"image": b"a", "region": LEFT}, {"text": "a"}])
def test_other_queries_stay_as_they_are(
    middle: FakeMiddle, tmp_path: Path, fields: dict[str, Any]
) -> None:
    """An id alone is looked up in the index."""
    query, _ = images(middle, tmp_path).fill(SearchQuery(**fields), at_7)
    assert query == SearchQuery(**fields)
    assert middle.deadlines == []


def test_a_file_that_is_another_is_gone(middle: FakeMiddle, tmp_path: Path) -> None:
    """Kind C: what was not indexed under the id is not embedded for it."""
    (tmp_path / "picture.png").write_bytes(b"another")

    with pytest.raises(Gone):
        images(middle, tmp_path).fill(SearchQuery(id=ID, region=LEFT), at_7)


def test_a_file_over_the_limit_is_not_sent(middle: FakeMiddle, tmp_path: Path) -> None:
    """Kind H: the message says what to do."""
    with pytest.raises(TooLarge, match=r"20 bytes; .* 19 .*: send that part"):
        images(middle, tmp_path, max_bytes=19).fill(SearchQuery(id=ID, region=LEFT), at_7)


def test_an_address_is_refused_where_that_is_off(middle: FakeMiddle, tmp_path: Path) -> None:
    """Also with a region."""
    query = SearchQuery(image_url="https://example.org/a.png", region=LEFT)

    with pytest.raises(ServiceError) as refused:
        images(middle, tmp_path).fill(query, at_7)
    assert "image_url_off" == refused.value.code
