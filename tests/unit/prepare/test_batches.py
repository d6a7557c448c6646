"""How many images save_embedding embeds together."""

from collections.abc import Sequence
from pathlib import Path

import pytest
from PIL import Image

from common.config import Config, Inference, Loaded, Prepare
from common.wire import Matrix
from devtools.tiny_model import write_tiny_model
from inference.clip.encoders import ImageTower
from inference.clip.images import Pixels
from prepare.save_embedding import save_embeddings


@pytest.mark.parametrize(("batch_size", "expected"), [(0, [4, 4, 1]), (3, [3, 3, 3])])
def test_the_model_chooses_unless_the_configuration_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, batch_size: int, expected: list[int]
) -> None:
    """Four at once for a network as small as the tiny one."""
    (tmp_path / "images").mkdir()
    for number in range(9):
        Image.new("RGB", (8, 8), (number, 0, 0)).save(tmp_path / f"images/{number}.png")
    write_tiny_model(tmp_path / "tiny")
    sizes: list[int] = []
    embed = ImageTower.embed

    def counted(tower: ImageTower, images: Sequence[Pixels]) -> Matrix:
        sizes.append(len(images))
        return embed(tower, images)

    monkeypatch.setattr(ImageTower, "embed", counted)
    config = Config(
        inference=Inference(clip="tiny", threads=1, replicas=1),
        prepare=Prepare(images=("images",), batch_size=batch_size),
    )
    save_embeddings(Loaded(config, tmp_path))

    assert expected == sizes
