"""The last block computes the pooled token alone; embeddings stay what they are."""

from pathlib import Path

import pytest
import torch
from open_clip.transformer import TextTransformer
from torch import Tensor, nn

from inference.exporting.export_checks import TEXTS, reference_tokens
from inference.exporting.pooled_token import pool_early
from inference.exporting.torch_models import Original, load_original
from tests.torch.originals import write_original


def original(architecture: str, folder: Path) -> Original:
    return load_original(str(write_original(architecture, folder / architecture)), Path())


def seen_by_last_mlp(tower: nn.Module, given: Tensor) -> tuple[Tensor, int]:
    """The embeddings, and how many tokens of each input the last block's MLP computes."""
    *_, mlp = (part for name, part in tower.named_modules() if name.endswith(".mlp"))
    shapes: list[torch.Size] = []
    mlp.register_forward_pre_hook(lambda _mlp, inputs: shapes.append(inputs[0].shape))
    with torch.inference_mode():
        rows = tower(given)
    (shape,) = shapes
    return rows, shape[1]


def test_the_pooled_token_of_an_image_is_computed_alone(tmp_path: Path) -> None:
    image = original("ViT-S-32-alt", tmp_path).image
    assert image is not None
    pixels = torch.randn(3, 3, 224, 224)

    early = pool_early(image)
    rows, tokens = seen_by_last_mlp(early, pixels)
    wanted, all_tokens = seen_by_last_mlp(image, pixels)

    assert (tokens, all_tokens) == (1, 50)
    torch.testing.assert_close(rows, wanted, atol=1e-5, rtol=1e-5)
    assert next(early.parameters()) is next(image.parameters())


def test_the_end_of_a_text_is_computed_alone(tmp_path: Path) -> None:
    """Wherever it ends: what follows is not seen."""
    found = original("ViT-S-32-alt", tmp_path)
    ids = reference_tokens(found, TEXTS)["text"]
    ids[:, -1] = torch.arange(len(ids))  # what follows the end

    rows, tokens = seen_by_last_mlp(pool_early(found.text), ids)
    wanted, all_tokens = seen_by_last_mlp(found.text, ids)

    assert (tokens, all_tokens) == (1, ids.shape[1])
    torch.testing.assert_close(rows, wanted, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("architecture", ["small-resnet", "small-siglip", "small-mobileclip"])
def test_other_towers_stay_as_they_are(architecture: str, tmp_path: Path) -> None:
    """Those that make an embedding of all tokens, or whose texts see their padding."""
    found = original(architecture, tmp_path)
    is_clip = isinstance(found.text, TextTransformer) and architecture == "small-resnet"

    assert found.image is not None
    if architecture != "small-siglip":  # its image tower here has a class token
        assert pool_early(found.image) is found.image
    assert (pool_early(found.text) is found.text) != is_clip
