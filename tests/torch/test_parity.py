"""Exports and runtimes against the torch models that they come from: tokens, pixels, embeddings."""

import functools
import io
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import pytest
import torch
from multilingual_clip.Config_MCLIP import MCLIPConfig
from multilingual_clip.pt_multilingual_clip import MultilingualCLIP
from PIL import Image, ImageOps
from safetensors.torch import load_file
from transformers import AutoTokenizer

from common.config import Inference
from inference.clip import images
from inference.clip.model import Model, load_model
from inference.clip.model_files import CLIP_TOKENIZER
from inference.clip.tokens import TextTokenizer
from inference.exporting.export_checks import (
    FLOORS,
    PHOTOS,
    TEXTS,
    reference_tokens,
    reference_transform,
    worst_cosine,
)
from inference.exporting.torch_models import Original, load_original
from tests.torch.originals import ARCHITECTURES

RUNTIMES = [
    ("onnxruntime", "fp32"),
    ("onnxruntime", "fp16"),
    ("onnxruntime", "int8"),
    ("openvino", "fp32"),
    ("openvino", "bf16"),
    ("openvino", "int8"),
    ("torch", "fp32"),
    ("torch", "bf16"),
]


class Pair:
    """A model as torch has it, and as it was exported."""

    def __init__(self, folder: Path) -> None:
        """`folder` holds the model as it was saved, and its export, as `export` leaves them."""
        self.folder = folder / "exported"
        self.original: Original = load_original(str(folder / "source"), Path())

    @functools.cached_property
    def text(self) -> Any:
        """The reference: all texts padded by their own tokenizer, in one batch."""
        with torch.inference_mode():
            return self.original.text(*reference_tokens(self.original, TEXTS).values()).numpy()

    @functools.cached_property
    def image(self) -> Any:
        """The reference: photos through open_clip's own transform, in one batch."""
        assert self.original.image is not None
        transform = reference_transform(self.original)
        with torch.inference_mode():
            photos = torch.stack([transform(Image.open(path)) for path in PHOTOS])
            return self.original.image(photos).numpy()


@pytest.fixture(scope="module", params=[*ARCHITECTURES, "m-clip"])
def pair(request: pytest.FixtureRequest, exported: Callable[[str], Path]) -> Pair:
    return Pair(exported(request.param))


@pytest.mark.parametrize(("runtime", "precision"), RUNTIMES)
def test_each_runtime_gives_what_torch_gives(
    pair: Pair, runtime: str, precision: str, record_property: Callable[[str, object], None]
) -> None:
    """Together and alone, trimmed as they are served, against batches padded to the context."""
    how = Inference(runtime=runtime, precision=precision)  # type: ignore[arg-type]
    model = load_model(str(pair.folder), how)

    for tower, cosine in _cosines(pair, model):
        record_property(f"{runtime} {precision} {tower}", cosine)
        assert cosine >= FLOORS[precision]


def _cosines(pair: Pair, model: Model) -> Iterator[tuple[str, float]]:
    alone = np.concatenate([model.encode_text([text]) for text in TEXTS])
    yield "text", worst_cosine(model.encode_text(TEXTS), pair.text)
    yield "text", worst_cosine(alone, pair.text)
    if model.image:
        files = [path.read_bytes() for path in PHOTOS]
        alone = np.concatenate([model.encode_images([data]) for data in files])
        yield "image", worst_cosine(model.encode_images(files), pair.image)
        yield "image", worst_cosine(alone, pair.image)


def test_torch_compiled_gives_what_torch_gives(exported: Callable[[str], Path]) -> None:
    """On one small model, as compiling takes its time."""
    pair = Pair(exported("m-clip"))
    model = load_model(str(pair.folder), Inference(runtime="torch-compile"))

    assert worst_cosine(model.encode_text(TEXTS), pair.text) >= FLOORS["fp32"]


def test_large_photos_decoded_smaller_keep_their_embeddings(pair: Pair) -> None:
    """Of every architecture here: export compares them, and would forbid it in preprocessing."""
    preprocessing = load_model(str(pair.folder), text=False).preprocessing
    assert preprocessing is None or preprocessing.draft


def test_an_export_may_be_moved(pair: Pair, tmp_path: Path) -> None:
    """Nothing in it leads back to where it was exported from."""
    source = pair.folder.with_name("source")
    moved = Path(shutil.copytree(pair.folder, tmp_path / "moved"))
    source.rename(tmp_path / "away")
    try:
        model = load_model(str(moved), Inference(runtime="torch"))
    finally:
        (tmp_path / "away").rename(source)

    assert worst_cosine(model.encode_text(TEXTS), pair.text) >= FLOORS["fp32"]


def test_a_text_longer_than_the_context_warns(pair: Pair) -> None:
    """And only that one."""
    model = load_model(str(pair.folder), image=False)
    assert model.text is not None

    warnings = [model.text.prepare(text).warning for text in ("short", "word " * 600)]

    assert warnings[0] is None
    assert "the text was cut to the model's" in str(warnings[1])


def saved(image: Image.Image, kind: str, **options: Any) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def photo() -> Image.Image:
    return Image.open(PHOTOS[0]).convert("RGB")


def translucent() -> Image.Image:
    """A photo that fades to nothing, with a hard edge in it."""
    image = photo().convert("RGBA")
    alpha = np.tile(np.linspace(0, 255, image.width).astype(np.uint8), (image.height, 1))
    alpha[: image.height // 3] = 0
    image.putalpha(Image.fromarray(alpha))
    return image


def turned() -> bytes:
    exif = Image.Exif()
    exif[0x0112] = 6
    return saved(photo(), "JPEG", quality=95, exif=exif)


@pytest.mark.parametrize("mode", ["shortest", "squash", "longest"])
@pytest.mark.parametrize(
    "data",
    [
        saved(photo(), "JPEG", quality=90),
        saved(photo(), "PNG"),
        saved(photo().convert("L"), "PNG"),
        saved(photo().convert("L"), "JPEG"),
        saved(photo().convert("CMYK"), "JPEG", quality=95),
        saved(translucent(), "PNG"),
        saved(translucent().convert("LA"), "PNG"),
        turned(),
        saved(photo().resize((150, 100)), "PNG"),
        saved(photo().resize((333, 1000)), "JPEG"),
    ],
    ids=("jpeg", "png", "grey", "l-jpeg", "cmyk", "alpha", "la", "exif", "small", "tall"),
)
@pytest.mark.parametrize("interpolation", ["bicubic", "bilinear"])
def test_preprocessing_is_open_clips(data: bytes, mode: str, interpolation: str) -> None:
    """To two steps of 255 in every pixel; a camera's orientation, which open_clip leaves, aside."""
    how: dict[str, Any] = {"size": 224, "resize_mode": mode, "interpolation": interpolation}
    theirs = open_clip.transform.image_transform_v2(
        open_clip.transform.PreprocessCfg(**how), is_train=False
    )(ImageOps.exif_transpose(Image.open(io.BytesIO(data))))
    ours_how = images.Preprocessing(
        mean=images.OPENAI_MEAN, std=images.OPENAI_STD, draft=False, as_shown=False, **how
    )
    ours = images.preprocess(images.decode_for(data, ours_how, 10**8), ours_how)

    steps = np.abs(ours - theirs.numpy()) * 255 * np.array(images.OPENAI_STD)[:, None, None]
    assert steps.max() < 2.01


TRICKY = [
    *TEXTS,
    "",
    "<start_of_text> and <end_of_text>",
    "IT'S we'Re I'LL",
    "ﬁ ﬀ ² ½ Ⅷ ﷺ",
    "\u200bzero\u200bwidth\ufeff",
    "\u0130stanbul \u017ftra\u00dfe \u212a",
    "🇩🇪 👨\u200d👩\u200d👧 x",
    "हिन्दी ภาษาไทย العربية",
    "a_b-c.d,e;f:g!h?i",
    "tabs\tand\nlines",
]


def test_tokens_are_open_clips() -> None:
    """Of OpenAI's tokenizer, for clean and for odd texts."""
    theirs = open_clip.tokenizer.SimpleTokenizer()
    ours = TextTokenizer(CLIP_TOKENIZER, 77, "lower")

    for text in TRICKY:
        row = theirs([text])[0].tolist()
        ids = ours.tokens(text).ids
        assert row == ids + [0] * (77 - len(ids)), text


def test_m_clip_is_the_packages_own(exported: Callable[[str], Path]) -> None:
    """Our network of M-CLIP gives what the class in the package multilingual-clip gives.

    That class cuts no text, so the longest is left out.
    """
    texts = TEXTS[:-1]
    folder = exported("m-clip")
    described = json.loads((folder / "source/config.json").read_bytes())
    config = MCLIPConfig(
        modelBase=str(folder / "source/base"),
        transformerDimSize=described["transformerDimensions"],
        imageDimSize=described["numDims"],
    )
    theirs = MultilingualCLIP(config).eval()
    theirs.load_state_dict(load_file(folder / "source/model.safetensors"))
    tokenizer = AutoTokenizer.from_pretrained(folder / "source")
    with torch.inference_mode():
        expected = theirs(list(texts), tokenizer).numpy()

    ours = load_model(str(folder / "exported")).encode_text(texts)
    assert worst_cosine(ours, expected) >= FLOORS["fp32"]
