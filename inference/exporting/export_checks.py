"""Comparing the embeddings of an export with torch's; needs requirements-torch.txt."""

import io
import itertools
from pathlib import Path
from typing import Any, cast

import msgspec
import numpy as np
import open_clip
import torch
from numpy.typing import NDArray
from PIL import Image, ImageOps

from common.config import CHECKOUT, Inference
from common.errors import ConfigError
from common.images.decode import decode
from common.wire import Matrix
from inference.clip import images
from inference.clip.encoders import ImageTower, TokenTextTower, unit_rows
from inference.clip.images import Preprocessing
from inference.clip.model import Model, load_model
from inference.clip.tokens import pad
from inference.exporting.torch_models import Original

FLOORS = {"fp32": 0.9999, "fp16": 0.999, "bf16": 0.999, "int8": 0.99}
"""The least accepted cosine between an embedding and the torch model's, by precision."""
DRAFT_FLOOR = 0.999
"""The least accepted cosine between the embeddings of a photo decoded smaller and whole."""
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
    """Compare an export with its original on texts and photos; returns a line with the cosines.

    Raises ConfigError if a cosine, the tokens or the preprocessing differ too much.
    """
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
            raise ConfigError(f"tokens of {text!r}: {mine[:20]}, and should be {theirs[:20]}")
    return worst_cosine(model.encode_text(TEXTS), _run(original.text, *feed.values()))


def reference_tokens(original: Original, texts: Any) -> dict[str, torch.Tensor]:
    """The original tokenizer's token ids, and for M-CLIP the mask, each [n, length]."""
    if "m_clip" in original.config:
        longest = original.config["text_cfg"]["context_length"]
        found = original.tokenizer(
            list(texts), padding=True, truncation=True, max_length=longest, return_tensors="pt"
        )
        return {key: found[key] for key in ("input_ids", "attention_mask")}
    return {"text": original.tokenizer(list(texts))}


def _worst_image(original: Original, model: Model) -> float:
    preprocessing = cast(Preprocessing, model.preprocessing)
    files = [path.read_bytes() for path in PHOTOS]
    transform = reference_transform(original)
    decoded = [decode(data, Inference().max_pixels) for data in files]
    theirs = torch.stack([transform(image) for image in decoded])
    ours = np.stack([images.preprocess(image, preprocessing) for image in decoded])
    std = np.array(preprocessing.std, dtype=np.float32)[:, None, None]
    if (levels := float(np.abs((ours - theirs.numpy()) * std).max())) > 2.01 / 255:
        raise ConfigError(f"preprocessing differs by {255 * levels:.1f} of 255 from open_clip's")
    rows = cast(ImageTower, model.image).embed(list(ours))
    return worst_cosine(rows, _run(cast(torch.nn.Module, original.image), theirs))


def may_draft(folder: Path) -> bool:
    """Whether large photos keep their embeddings when they are decoded smaller, as in serving."""
    model = load_model(str(folder.resolve()), text=False)
    if model.image is None or model.preprocessing is None:
        return True
    whole = msgspec.structs.replace(model.preprocessing, draft=False)
    files = [large_photo(start) for start in range(4)]
    slow = model._replace(preprocessing=whole).encode_images(files)
    return worst_cosine(model.encode_images(files), slow) >= DRAFT_FLOOR


def large_photo(start: int) -> bytes:
    """A JPEG of 2880 by 2880 pixels, as detailed as a camera's: 36 samples from number `start`."""
    paths = itertools.cycle(sorted((CHECKOUT / "samples").glob("*.jpg")))
    whole = Image.new("RGB", (6 * 480, 6 * 480))
    for number, path in enumerate(itertools.islice(paths, start, start + 36)):
        with Image.open(path) as photo:
            tile = ImageOps.fit(photo, (480, 480))
        whole.paste(tile, (number % 6 * 480, number // 6 * 480))
    stream = io.BytesIO()
    whole.save(stream, "JPEG", quality=92)
    return stream.getvalue()


def reference_transform(original: Original) -> Any:
    """open_clip's own preprocessing: from a Pillow image to a tensor [3, height, width]."""
    preprocessing = open_clip.transform.PreprocessCfg(**(original.preprocessing or {}))
    return open_clip.transform.image_transform_v2(preprocessing, is_train=False)


def worst_cosine(ours: Matrix, theirs: Matrix) -> float:
    """The least cosine between rows of equal index; the rows of `ours` must be unit rows."""
    return float((ours * unit_rows(theirs)).sum(axis=1).min())


def _run(tower: torch.nn.Module, *inputs: torch.Tensor) -> NDArray[np.float32]:
    with torch.inference_mode():
        rows: NDArray[np.float32] = tower(*inputs).float().numpy()
    return rows
