"""A model: a folder with its towers, in the layout of design.md, found by name."""

import hashlib
from collections.abc import Sequence
from pathlib import Path

import msgspec
import numpy as np

from common.config import Inference
from common.errors import ConfigError
from common.wire import Matrix
from inference import images
from inference.images import Pixels, Preprocessing, read_preprocessing
from inference.tokens import TextTokenizer
from inference.towers import OnnxImageTower, OnnxTextTower, TextTower

MODELS = Path(__file__).resolve().parent / "models"


class TextConfig(msgspec.Struct, frozen=True):
    """`text_cfg` of a model's config.json."""

    context_length: int = 77


class ModelConfig(msgspec.Struct, frozen=True):
    """The part of a model's config.json that serving it needs."""

    embed_dim: int
    text_cfg: TextConfig = TextConfig()
    text_engine: str = "onnx"


class Model:
    """What one model can embed; either tower may be missing."""

    def __init__(
        self,
        name: str,
        dim: int,
        space: str,
        text: TextTower | None,
        image: OnnxImageTower | None,
        preprocessing: Preprocessing | None,
    ) -> None:
        self.name = name
        self.dim = dim
        self.space = space
        self.text = text
        self.image = image
        self.preprocessing = preprocessing

    def preprocess(self, data: bytes, max_pixels: int) -> Pixels:
        """The pixels of an image file; raises what `images.decode` does."""
        if self.preprocessing is None:
            raise ConfigError(f"model {self.name} has no image tower")
        image = images.decode_for(data, self.preprocessing, max_pixels)
        return images.preprocess(image, self.preprocessing)

    def warm(self) -> None:
        """Run each tower once; raises ConfigError when one does not give what config.json says."""
        parts = [self.encode_text(["warm"])] if self.text else []
        if self.image and self.preprocessing:
            height, width = self.preprocessing.height_width
            parts.append(self.image.embed([np.zeros((3, height, width), dtype=np.float32)]))
        for rows in parts:
            if rows.shape != (1, self.dim):
                raise ConfigError(f"model {self.name} gives {rows.shape}, not (1, {self.dim})")

    def encode_text(self, texts: Sequence[str]) -> Matrix:
        """Embed texts: unit rows, float32 [n, dim]."""
        if self.text is None:
            raise ConfigError(f"model {self.name} has no text tower")
        return self.text.embed([self.text.prepare(text).value for text in texts])

    def encode_images(
        self, files: Sequence[bytes], max_pixels: int = Inference().max_pixels
    ) -> Matrix:
        """Embed image files: unit rows, float32 [n, dim]; raises what `images.decode` does."""
        if self.image is None:
            raise ConfigError(f"model {self.name} has no image tower")
        return self.image.embed([self.preprocess(data, max_pixels) for data in files])


def find_model(name: str, root: Path) -> Path:
    """The folder of the model `name`: one that we ship, or a path; raises ConfigError."""
    for folder in (MODELS / name, root / name):
        if (folder / "config.json").is_file():
            return folder
    raise ConfigError(
        f"no model {name!r}: neither a model that ships nor a folder with config.json"
    )


def load_model(name: str, threads: int = 0, root: Path = Path()) -> Model:
    """Load the model `name`; raises ConfigError, MissingPackage where it needs one."""
    folder = find_model(name, root)
    try:
        config = msgspec.json.decode((folder / "config.json").read_bytes(), type=ModelConfig)
        image = preprocessing = None
        if (folder / "visual").is_dir():
            image = OnnxImageTower(folder / "visual/model.onnx", threads)
            preprocessing = read_preprocessing(folder / "visual/preprocess_cfg.json")
        text = _load_text(folder, config, threads)
    except (OSError, msgspec.DecodeError) as error:
        raise ConfigError(f"model {name}: {error}") from None
    return Model(folder.name, config.embed_dim, space_of(folder), text, image, preprocessing)


def _load_text(folder: Path, config: ModelConfig, threads: int) -> TextTower | None:
    if config.text_engine == "pivot":
        from inference.starter_multilingual import PivotTextTower

        return PivotTextTower(folder)
    if not (folder / "textual").is_dir():
        return None
    tokenizer = TextTokenizer(folder / "textual/tokenizer.json", config.text_cfg.context_length)
    return OnnxTextTower(folder / "textual/model.onnx", tokenizer, threads)


def space_of(folder: Path) -> str:
    """The digest of what makes image embeddings: the tower and its preprocessing; "" without."""
    if not (folder / "visual").is_dir():
        return ""
    digest = hashlib.sha256(b"preprocessing %d" % images.VERSION)
    for name in ("visual/preprocess_cfg.json", "visual/model.onnx"):
        with (folder / name).open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()
