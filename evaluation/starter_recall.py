"""How well the starter model finds pictures by their captions; prints a Markdown table.

The pictures are Debian's tuxpaint-stamps-default (apt-get install tuxpaint-stamps-default), each
with one sentence in many languages. A caption that several pictures share asks once, and any of
them is right. With --imagenet, 1,000 ImageNet photos, one of each class, are searched as well.
"""

import argparse
import io
import json
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

if __name__ == "__main__" and __spec__ is None:
    sys.path[0] = str(Path(__file__).resolve().parent.parent)  # was evaluation/

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from common.errors import MissingPackage
from inference.clip.model_files import MODELS
from inference.clip.model import Model, load_model

STAMPS = Path("/usr/share/tuxpaint/stamps")
DRAWN = {"symbols", "cartoon"}  # folders of letters and drawings: no photos
LANGUAGES = ("en", "de", "fr", "es", "it", "pt", "ru", "ja", "zh_CN")
BATCH = 16
Rows = NDArray[np.float32]
Encode = Callable[[Sequence[str]], Rows]


class Stamp(NamedTuple):
    """A picture and what it shows, by language."""

    path: Path
    captions: dict[str, str]


def read_captions(path: Path) -> dict[str, str]:
    """The sentences of a stamp's text file: English first, then lines `de.utf8=Ein Frosch.`"""
    english, *others = path.read_text(encoding="utf-8", errors="replace").splitlines()
    pairs = (re.fullmatch(r"([\w@]+)\.utf8=(.*)", line) for line in others)
    return {"en": english.strip(), **{pair[1]: pair[2].strip() for pair in pairs if pair}}


def read_stamps(root: Path) -> list[Stamp]:
    """All photos that have captions."""
    paths = [path for path in sorted(root.rglob("*.png")) if not DRAWN & set(path.parts)]
    described = [path for path in paths if path.with_suffix(".txt").exists()]
    return [Stamp(path, read_captions(path.with_suffix(".txt"))) for path in described]


def on_white(path: Path) -> bytes:
    """A picture over a white ground, as the bytes of a PNG file."""
    with Image.open(path) as image:
        picture = image.convert("RGBA")
    ground = Image.new("RGBA", picture.size, "white")
    ground.alpha_composite(picture)
    file = io.BytesIO()
    ground.convert("RGB").save(file, "PNG")
    return file.getvalue()


def embed_files(model: Model, paths: Sequence[Path], read: Callable[[Path], bytes]) -> Rows:
    """Embed image files, a few at a time."""
    parts = [paths[start : start + BATCH] for start in range(0, len(paths), BATCH)]
    return np.concatenate([model.encode_images([read(path) for path in part]) for part in parts])


def ranks(encode: Encode, captions: Sequence[str], images: Rows, prompt: str = "{}") -> Rows:
    """For each different caption the rank, from 1, of the best image that has it; ties lose."""
    asked = sorted({caption for caption in captions if caption})
    scores = encode([prompt.format(caption) for caption in asked]) @ images.T
    if not np.isfinite(scores).all():  # NaN beats nothing, so each image would rank first
        raise SystemExit("the model gave embeddings that are not finite")
    right = np.array([[caption == one for caption in captions] for one in asked])
    best = np.where(right, scores, -np.inf).max(axis=1, keepdims=True)
    found: Rows = 1 + (~right & (scores >= best)).sum(axis=1).astype(np.float32)
    return found


def row(name: str, pictures: int, found: Rows) -> str:
    """A line of the table."""
    recalls = " | ".join(f"{(found <= k).mean():.3f}" for k in (1, 5, 10))
    return f"| {name} | {len(found)} | {pictures} | {recalls} | {np.median(found):.0f} |"


def load_multilingual() -> Model | None:
    """The multilingual text tower, or None and a word about it when its package is missing."""
    try:
        return load_model("starter-multilingual")
    except MissingPackage as error:
        print(f"mclip left out: {error}", file=sys.stderr)
        return None


def measure_stamps(clip: Model, root: Path) -> list[str]:
    """The lines for the stamps: English with `clip`, then each language with `mclip`."""
    stamps = read_stamps(root)
    if not stamps:
        raise SystemExit(f"no stamps in {root}: apt-get install tuxpaint-stamps-default")
    images = embed_files(clip, [stamp.path for stamp in stamps], on_white)
    towers: list[tuple[str, Encode, str]] = [("clip", clip.encode_text, "en")]
    if mclip := load_multilingual():
        towers += [("mclip", mclip.encode_text, language) for language in LANGUAGES]
    lines = []
    for tower, encode, language in towers:
        captions = [stamp.captions.get(language, "") for stamp in stamps]
        lines.append(
            row(f"stamps, {tower}, {language}", len(stamps), ranks(encode, captions, images))
        )
    return lines


def measure_imagenet(clip: Model, folder: Path) -> str:
    """The line for a folder of one photo per class, whose names start with their WordNet id."""
    labels = json.loads((MODELS / "starter/visual/labels.json").read_bytes())
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    if len(paths) != len(labels):
        raise SystemExit(f"{folder} has {len(paths)} files, not one for each of {len(labels)}")
    images = embed_files(clip, paths, Path.read_bytes)
    found = ranks(clip.encode_text, labels, images, prompt="a photo of a {}")
    return row("ImageNet, clip, en", len(paths), found)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--stamps", type=Path, default=STAMPS, help="folder of the stamps")
    parser.add_argument("--imagenet", type=Path, help="folder of 1,000 photos, in class order")
    arguments = parser.parse_args()
    clip = load_model("starter")
    print("| collection, tower, language | queries | pictures | R@1 | R@5 | R@10 | median rank |")
    print("|---|---:|---:|---:|---:|---:|---:|")
    for line in measure_stamps(clip, arguments.stamps):
        print(line, flush=True)
    if arguments.imagenet:
        print(measure_imagenet(clip, arguments.imagenet))


if __name__ == "__main__":
    main()
