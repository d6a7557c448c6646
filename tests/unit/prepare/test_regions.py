"""The regions of a collection: embedded once, found by content, and cut as those of a search."""

from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
from msgspec import structs
from PIL import Image

from common.config import Config, Inference, Loaded, Prepare, RegionKind
from common.errors import ConfigError
from common.files import content_hash
from common.wire import Matrix
from devtools.tiny_sam import SHAPE, picture, write_meta_sam
from inference.clip import images
from inference.messages import Region
from prepare import chunk_tasks
from prepare.chunk_tasks import Embedder
from prepare.chunks import Chunk, EmbeddingFolder, Row
from prepare.collection import Collection, read_collection
from prepare.members import Member, write_members
from prepare.regions import GRID, WHOLE, embed_regions, stored_regions
from prepare.sam_regions import MAX_REGIONS, choose
from tests.prepare.stub_tower import PREPROCESSING, SPACE, StubTower, unit

SIDE = 16


class Regions:
    """An embedding folder with members, whose regions are embedded by a stub."""

    def __init__(self, root: Path, count: int) -> None:
        self.root = root
        self.tower = StubTower()
        self.folder = EmbeddingFolder(root)
        self.members = [self._add(number) for number in range(count)]
        self.write()

    def _add(self, number: int) -> Member:
        pixels = np.random.default_rng(number).integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)
        path = self.root / f"{number}.png"
        Image.fromarray(pixels).save(path)
        content = content_hash(path.read_bytes())
        row = Row(path.name, 1, 1, content, "0")
        self.folder.write(
            number + 1, Chunk(np.eye(1, 12, number, np.float32), [row], []), "stub", SPACE
        )
        return Member(path.name, 1, 1, number + 1, 0, content)

    def write(self) -> None:
        """Write the members."""
        write_members(self.folder, self.members)

    def embed(self, kind: RegionKind = "grid", sam: str | None = None, **prepare: Any) -> int:
        """Embed what is missing; returns of how many images."""
        settings = Prepare(regions=kind, batch_size=4, threads=1, **prepare)
        loaded = Loaded(Config(prepare=settings, inference=Inference(sam=sam)), self.root)
        model: dict[str, Any] = {
            "load_model": lambda *_, **__: self.tower.model(),
            "space_of_model": lambda *_: SPACE,
        }
        with patch.multiple(chunk_tasks, **model):
            return embed_regions(loaded, self.folder, self.members, SPACE, Embedder(loaded))

    def read(self, kind: RegionKind = "grid") -> Collection:
        """What is indexed."""
        return read_collection(self.folder, kind)


@pytest.fixture
def regions(tmp_path: Path) -> Regions:
    """Three images."""
    return Regions(tmp_path, 3)


def vector_of(file: bytes, region: Region) -> Matrix:
    """What a search by a region is by."""
    image = images.decode_for(file, PREPROCESSING, SIDE**2, region=region)
    vector: Matrix = unit([images.preprocess(image, PREPROCESSING)])[0]
    return vector


def test_regions_are_embedded_as_a_search_by_them_is(regions: Regions) -> None:
    """Each image has those of the grid, in its order; rows of a shard have theirs alone."""
    assert regions.embed() == 3
    collection = regions.read()
    rows = collection.rows(np.array([2, 0]))

    assert rows.regions.places["row"].tolist() == [0] * len(GRID) + [1] * len(GRID)
    for record, start in zip(rows.records, (0, len(GRID)), strict=True):
        file = (regions.root / record.path).read_bytes()
        for place, region in enumerate(GRID, start):
            assert rows.regions.places["box"][place].tolist() == pytest.approx(region)
            np.testing.assert_array_equal(rows.regions.vectors[place], vector_of(file, region))


def test_only_what_is_missing_is_embedded(regions: Regions) -> None:
    """Neither again, nor for a copy, nor when the setting comes back; whole images stay."""
    regions.embed()
    before = regions.read().digest
    assert (regions.embed(), regions.embed("none")) == (0, 0)
    assert len(regions.read("none").regions) == 0
    assert regions.read("none").digest != before == regions.read().digest
    copy = Member("copy.png", 1, 1, 1, 0, regions.members[0].content)
    regions.members += [copy, regions._add(9)]
    regions.write()

    assert regions.embed() == 1
    assert len(regions.read().regions) == len(GRID) * 5


def test_images_that_cannot_be_read_get_regions_later(regions: Regions) -> None:
    """Files that are gone, or are others now; offline images are not even looked for."""
    file = regions.root / "0.png"
    data = file.read_bytes()
    file.write_bytes(b"another")
    (regions.root / "1.png").unlink()
    assert regions.embed() == 1
    file.write_bytes(data)

    assert regions.embed() == 1
    assert set(stored_regions(regions.folder, SPACE, "grid")) == {
        regions.members[0].content,
        regions.members[2].content,
    }


def test_a_killed_run_keeps_its_chunks(regions: Regions) -> None:
    """The next one goes on behind them."""
    regions.tower.fails_after = len(GRID)
    with pytest.raises(RuntimeError):
        regions.embed(chunk_size=1)
    regions.tower.fails_after = None

    assert regions.embed(chunk_size=1) == 2


def test_an_image_without_regions_is_told_so_once(regions: Regions) -> None:
    """All of it stands for them, and is not indexed twice."""
    row = Row("0.png", 1, 1, regions.members[0].content, "0", region=WHOLE)
    regions.folder.write(
        9, Chunk(np.eye(1, 12, dtype=np.float32), [row], []), "stub", f"{SPACE} grid"
    )

    assert regions.embed() == 2
    assert set(regions.read().regions["row"].tolist()) < {0, 1, 2}
    assert 9 in regions.read().all_chunks
    assert 9 not in regions.read().chunks


def test_sam_needs_a_model(regions: Regions) -> None:
    """The message names both keys."""
    with pytest.raises(ConfigError, match=r"Prepare\.regions.*Inference\.sam"):
        regions.embed("sam")


def test_sam_gives_the_boxes_of_things(regions: Regions, tmp_path: Path) -> None:
    """The white shape on red; the red around it is nearly all of the picture."""
    file = tmp_path / "0.png"
    file.write_bytes(picture())
    content = content_hash(picture())
    regions.members = [structs.replace(regions.members[0], content=content)]
    regions.write()

    assert regions.embed("sam", str(write_meta_sam(tmp_path / "sam"))) == 1
    (found,) = stored_regions(regions.folder, SPACE, "sam")[content]
    assert found.box == SHAPE


def test_of_the_boxes_of_clicks_each_thing_counts_once() -> None:
    """The best first; nothing of low score, nothing small, and not nearly all of the picture."""
    box = (0.1, 0.1, 0.5, 0.5)
    assert choose([(0.9, box), (0.95, (0.1, 0.1, 0.5, 0.52)), (0.7, (0.5, 0.5, 0.9, 0.9))]) == [
        (0.1, 0.1, 0.5, 0.52)
    ]
    assert choose([(0.9, (0.0, 0.0, 0.1, 0.1)), (0.9, (0.0, 0.0, 1.0, 0.95))]) == []
    many = [(0.9, (n / 20, n / 20, n / 20 + 0.2, n / 20 + 0.2)) for n in range(0, 16)]
    assert len(choose(many)) == MAX_REGIONS
