"""A model: its two towers, its tokenizer and its preprocessing, loaded by name."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL.Image import Image

from common.config import Inference
from common.errors import ConfigError
from common.images.formats import FORMATS
from common.wire import UNREADABLE, Matrix
from inference.clip import images
from inference.clip.catalogue import image_partner, normal_name
from inference.clip.classifier import Classifier, load_classifier
from inference.clip.encoders import ImageTower, TextTower, TokenTextTower
from inference.clip.images import Pixels, Preprocessing
from inference.clip.model_files import Layout, digest_of, pad_token, read_layout, space_of
from inference.clip.registry import find_model, shown_name
from inference.clip.session import Session, batch_size, open_sessions
from inference.clip.tokens import TextTokenizer
from inference.messages import Logits, Region


class Model(NamedTuple):
    """A loaded model. A tower is None if the model has none or was loaded without that tower."""

    name: str
    dim: int
    space: str
    text: TextTower | None
    image: ImageTower | None
    preprocessing: Preprocessing | None
    logits: Logits
    classifier: Classifier | None
    digest: str
    """The digest of everything that determines an embedding; "" if loaded without texts."""

    def preprocess(
        self,
        data: bytes,
        max_pixels: int,
        formats: Collection[str] = FORMATS,
        region: Region | None = None,
    ) -> Pixels:
        """The pixels of an image file of `formats`, or of a region; raises as `decode_for` does."""
        return self.pixels(self.decode(data, max_pixels, formats, region))

    def decode(
        self,
        data: bytes,
        max_pixels: int,
        formats: Collection[str] = FORMATS,
        region: Region | None = None,
    ) -> Image:
        """An image file of `formats`, or a region of it, as large as is needed for `pixels`."""
        return images.decode_for(data, self._as_trained(), max_pixels, formats, region)

    def pixels(self, image: Image) -> Pixels:
        """The pixels that the image tower takes of a decoded image."""
        return images.preprocess(image, self._as_trained())

    def warm(self) -> None:
        """Run each replica of each tower; raises ConfigError for rows of a wrong length."""
        parts = []
        for count in 1, 2:  # torch-compile compiles once for one input, and once for more
            if self.text:
                warm = count * [self.text.prepare("warm").value]
                parts += [self.text.embed(warm, kind) for kind in _each(self.text.replicas)]
            if self.image:
                blank = count * [self.blank()]
                parts += [self.image.embed(blank, kind) for kind in _each(self.image.replicas)]
        if self.classifier:
            self.classifier.probabilities([self.blank()])
        for rows in parts:
            if (dim := rows.shape[1]) != self.dim:
                raise ConfigError(f"model {self.name} gives {dim} numbers, not {self.dim}")

    def blank(self) -> Pixels:
        """Pixels for the image tower that are all zero."""
        return np.zeros((3, *self._as_trained().height_width), dtype=np.float32)

    def _as_trained(self) -> Preprocessing:
        if self.preprocessing is None:
            raise ConfigError(f"model {self.name} has no image tower")
        return self.preprocessing

    def encode_text(self, texts: Sequence[str]) -> Matrix:
        """Embed texts: unit rows, float32 [n, dim]."""
        if self.text is None:
            raise ConfigError(f"model {self.name} has no text tower")
        return self.text.embed([self.text.prepare(text).value for text in texts])

    def encode_images(
        self, files: Sequence[bytes], max_pixels: int = Inference().max_pixels
    ) -> Matrix:
        """Embed image files: unit rows, float32 [n, dim]; raises the errors of `decode`."""
        if self.image is None:
            raise ConfigError(f"model {self.name} has no image tower")
        return self.image.embed([self.preprocess(data, max_pixels) for data in files])


def load_model(
    name: str,
    settings: Inference = Inference(),  # noqa: B008 Inference is frozen
    root: Path = Path(),
    *,
    text: bool = True,
    image: bool = True,
    space: str | None = None,
) -> Model:
    """Load the model `name`, or one of its towers, to run by `settings`.

    With `space`, the files of the image tower are not read again for their digest. Raises
    ConfigError for a model that is missing or cannot run, MissingPackage for a missing package.
    """
    folder = find_model(name, root)
    try:
        layout = read_layout(folder)
        image_tower = preprocessing = classifier = None
        if image and layout.visual:
            sessions = open_sessions(layout.visual, settings)
            image_tower = ImageTower(sessions, batch_size(layout.visual, settings))
            preprocessing = layout.preprocessing or _preprocessing_of(sessions[0])
            _check_size(layout.visual, sessions[0], preprocessing)
            classifier = load_classifier(layout.visual.with_name("labels.json"), image_tower)
        text_tower = _text_tower(layout, settings) if text else None
        space = space_of(layout) if space is None else space
        # The digest reads all files. Only serving needs a digest, and serving loads the texts too.
        digest = digest_of(layout, space, settings) if text else ""
    except (OSError, ValueError, *UNREADABLE) as error:  # ValueError: of JSON, and of NumPy's files
        raise ConfigError(f"model {name}: {error}") from None
    if text and not (text_tower or image_tower):
        raise ConfigError(f"model {name} has no text tower: there is no {layout.folder}/textual")
    model = Model(
        name=shown_name(name, folder),
        dim=layout.config.embed_dim or 0,
        space=space,
        text=text_tower,
        image=image_tower,
        preprocessing=preprocessing,
        logits=Logits(layout.config.logit_scale, layout.config.logit_bias),
        classifier=classifier,
        digest=digest,
    )
    return model if model.dim else model._replace(dim=_measured_dim(model))


def space_of_model(name: str, root: Path) -> str:
    """The space of the model `name`, without loading the model; raises ConfigError."""
    try:
        return space_of(read_layout(find_model(name, root)))
    except (OSError, *UNREADABLE) as error:
        raise ConfigError(f"model {name}: {error}") from None


def check_images(clip: Model) -> None:
    """Raise ConfigError if the model for the role clip embeds no images: an index needs them."""
    if clip.image is None:
        raise ConfigError(f"config: Inference.clip: {clip.name} embeds no images")


def check_space(text: Model, clip: Model) -> None:
    """Raise ConfigError if the texts of one model and the images of the other share no space."""
    if text.dim != clip.dim:
        raise ConfigError(
            f"mclip {text.name} gives {text.dim} numbers, clip {clip.name} {clip.dim}:"
            " no common space"
        )
    partners = image_partner(text.name) == normal_name(clip.name)
    if text.space not in ("", clip.space) and not partners:
        raise ConfigError(
            f"mclip {text.name} has images of its own, which are not those of clip {clip.name}:"
            " no common space. If its texts were taught to meet clip's, remove its visual tower"
        )


def _each(replicas: Mapping[str, int]) -> Iterator[str]:
    """The kind of each of `replicas`: those of a kind take turns."""
    return (kind for kind, count in replicas.items() for _ in range(count))


def _preprocessing_of(session: Session) -> Preprocessing:
    """OpenAI's preprocessing, for the image size that the session takes."""
    height = session.inputs[0].shape[2]
    return Preprocessing(height or 224, images.OPENAI_MEAN, images.OPENAI_STD)


def _check_size(path: Path, session: Session, preprocessing: Preprocessing) -> None:
    for takes, given in zip(session.inputs[0].shape[2:], preprocessing.height_width, strict=True):
        if takes not in (None, given):
            raise ConfigError(f"{path} takes {takes} pixels, preprocess_cfg.json says {given}")


def _text_tower(layout: Layout, settings: Inference) -> TextTower | None:
    if layout.config.text_engine == "pivot":
        from inference.starter.multilingual import PivotTextTower

        return PivotTextTower(layout.folder, layout.config.text_cfg.context_length)
    if layout.textual is None:
        return None
    sessions = open_sessions(layout.textual, settings)
    options = layout.config.text_cfg
    clean = options.tokenizer_kwargs.clean
    if clean is None:
        # A mask means a transformers model, which was trained without open_clip's cleaning.
        masked = any("mask" in tower_input.name for tower_input in sessions[0].inputs)
        clean = "none" if masked else "whitespace" if options.hf_tokenizer_name else "lower"
    tokenizer = TextTokenizer(layout.tokenizer, options.context_length, clean, pad_token(layout))
    return TokenTextTower(sessions, tokenizer, options.sees_padding)


def _measured_dim(model: Model) -> int:
    """The length of an embedding, for a model without a config.json that says it."""
    rows = model.image.embed([model.blank()]) if model.image else model.encode_text(["blank"])
    return int(rows.shape[1])
