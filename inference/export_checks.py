"""Whether an exported folder gives what the torch model gives; needs requirements-torch.txt."""

from pathlib import Path
from typing import Any, cast

import numpy as np
import open_clip
import torch
from numpy.typing import NDArray

from common.config import CHECKOUT, Inference
from common.errors import ConfigError
from common.wire import Matrix
from inference import images
from inference.images import Preprocessing
from inference.model import Model, load_model
from inference.tokens import pad
from inference.torch_models import Original
from inference.towers import TokenTextTower, unit_rows

FLOORS = {"fp32": 0.9999, "fp16": 0.999, "bf16": 0.999, "int8": 0.99}
"""The least cosine between an embedding and the torch model's."""
PHOTOS = sorted((CHECKOUT / "samples").rglob("*.jpg"))[::9]
TEXTS = (
    "a photo of a cat",
    "two dogs play with a red ball on the beach, while the sun goes down behind them",
    "don\u2019t say \u201cnaïve café\u201d &amp; walk away",
    "ein Mann auf einem Fahrrad",
    "夜の東京",
    "кошка на окне 🐈",
    "1984",
    "x",
    "a very long description of nearly everything " * 20,
)


def check(original: Original, folder: Path, precision: str) -> str:
    """Compare an export with its original on texts and photos; raises ConfigError, else says how
    close they are."""
    model = load_model(str(folder.resolve()), Inference(precision=precision))  # type: ignore[arg-type]
    worst = {"text": _worst_text(original, model)}
    if original.image is not None:
        worst["image"] = _worst_image(original, model)
    for tower, cosine in worst.items():
        if not cosine >= FLOORS[precision]:
            raise ConfigError(
                f"{precision} {tower}: cosine {cosine:.6f} is below {FLOORS[precision]}"
            )
    found = ", ".join(f"{tower} {cosine:.6f}" for tower, cosine in worst.items())
    return f"{precision}: worst cosine with torch: {found}"


def _worst_text(original: Original, model: Model) -> float:
    tower = cast(TokenTextTower, model.text)
    tokens = [tower.prepare(text).value for text in TEXTS]
    feed = reference_tokens(original, TEXTS)
    width = next(iter(feed.values())).shape[1]
    ours, _ = pad(tokens, tower.pad_id, width)
    for text, mine, theirs in zip(TEXTS, ours, next(iter(feed.values())).numpy(), strict=True):
        if not np.array_equal(mine, theirs):
            raise ConfigError(f"the tokens of {text!r} are {mine}, and should be {theirs}")
    return worst_cosine(model.encode_text(TEXTS), _run(original.text, *feed.values()))


def reference_tokens(original: Original, texts: Any) -> dict[str, torch.Tensor]:
    """What the original's own tokenizer makes of texts: ids, and for M-CLIP a mask, [n, length]."""
    if "m_clip" in original.config:
        found = original.tokenizer(
            list(texts), padding=True, truncation=True, max_length=512, return_tensors="pt"
        )
        return {key: found[key] for key in ("input_ids", "attention_mask")}
    return {"text": original.tokenizer(list(texts))}


def _worst_image(original: Original, model: Model) -> float:
    preprocessing = cast(Preprocessing, model.preprocessing)
    files = [path.read_bytes() for path in PHOTOS]
    transform = reference_transform(original)
    decoded = [images.decode(data, Inference().max_pixels) for data in files]
    theirs = torch.stack([transform(image) for image in decoded])
    ours = np.stack([images.preprocess(image, preprocessing) for image in decoded])
    std = np.array(preprocessing.std, dtype=np.float32)[:, None, None]
    if (levels := float(np.abs((ours - theirs.numpy()) * std).max())) > 1.01 / 255:
        raise ConfigError(f"preprocessing differs by {255 * levels:.1f} of 255 from open_clip's")
    return worst_cosine(
        model.encode_images(files), _run(cast(torch.nn.Module, original.image), theirs)
    )


def reference_transform(original: Original) -> Any:
    """open_clip's own preprocessing: from a Pillow image to a tensor [3, height, width]."""
    how = open_clip.transform.PreprocessCfg(**(original.preprocessing or {}))
    return open_clip.transform.image_transform_v2(how, is_train=False)


def worst_cosine(ours: Matrix, theirs: Matrix) -> float:
    """The least cosine of a unit row of one and the same row of the other."""
    return float((ours * unit_rows(theirs)).sum(axis=1).min())


def _run(tower: torch.nn.Module, *inputs: torch.Tensor) -> NDArray[np.float32]:
    with torch.inference_mode():
        rows: NDArray[np.float32] = tower(*inputs).float().numpy()
    return rows
