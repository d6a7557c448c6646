"""What a lower precision costs: cosines and hits beside fp32; prints a Markdown table.

The pictures and captions are Debian's tuxpaint-stamps-default (apt-get install
tuxpaint-stamps-default), the pictures as embedded in fp32, which is how an index keeps them.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

if __name__ == "__main__" and __spec__ is None:
    sys.path[0] = str(Path(__file__).resolve().parent.parent)  # was evaluation/

import numpy as np
from msgspec import convert

from common.config import Inference
from common.errors import ConfigError, MissingPackage
from evaluation.starter_recall import STAMPS, Rows, embed_files, ranks, read_stamps
from inference.clip.model import Model, load_model

K = 10
EXACT = "onnxruntime:fp32"
OTHERS = ("onnxruntime:int8", "openvino:bf16", "openvino:int8")


def load(name: str, choice: str) -> Model:
    """A model by `RUNTIME:PRECISION`; raises ConfigError, MissingPackage."""
    runtime, _, precision = choice.partition(":")
    return load_model(name, convert({"runtime": runtime, "precision": precision}, Inference))


def kept(queries: Rows, exact: Rows, images: Rows) -> float:
    """The share of the first ten images of exact queries that the queries find in theirs."""
    found, right = (np.argsort(-rows @ images.T)[:, :K] for rows in (queries, exact))
    return float(np.mean([len(set(a) & set(b)) / K for a, b in zip(found, right, strict=True)]))


def worst(some: Rows, others: Rows) -> float:
    """The smallest cosine of rows that should be equal."""
    return float((some * others).sum(axis=1).min())


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", help="a name or a folder")
    parser.add_argument("choices", nargs="*", metavar="RUNTIME:PRECISION", default=OTHERS)
    parser.add_argument("--stamps", type=Path, default=STAMPS, help="folder of the stamps")
    arguments = parser.parse_args()
    stamps = read_stamps(arguments.stamps)
    captions = [stamp.captions["en"] for stamp in stamps]
    texts, paths = sorted(set(captions)), [stamp.path for stamp in stamps]

    def embed(choice: str) -> tuple[Model, Rows, Rows]:
        model = load(arguments.model, choice)
        return model, model.encode_text(texts), embed_files(model, paths, Path.read_bytes)

    model, text_rows, image_rows = embed(EXACT)
    print(f"| {len(texts)} texts, {len(paths)} images | worst cosine, texts | images |", end="")
    print(" top 10 kept, texts | images | R@10 of captions |")
    print("|---|---:|---:|---:|---:|---:|")
    base: Sequence[float] = (1, 1, 1, 1)
    print_row(EXACT, base, float((ranks(model.encode_text, captions, image_rows) <= K).mean()))
    for choice in arguments.choices:
        try:
            model, other_texts, other_images = embed(choice)
        except (ConfigError, MissingPackage) as error:
            print(f"left out: {choice}: {error}", file=sys.stderr)
            continue
        found = float((ranks(model.encode_text, captions, image_rows) <= K).mean())
        pairs = ((other_texts, text_rows), (other_images, image_rows))
        figures = [worst(*pair) for pair in pairs] + [kept(*pair, image_rows) for pair in pairs]
        print_row(choice, figures, found)


def print_row(choice: str, figures: Sequence[float], found: float) -> None:
    """A line of the table."""
    text, image, kept_text, kept_image = figures
    cells = f"{text:.4f} | {image:.4f} | {kept_text:.3f} | {kept_image:.3f} | {found:.3f}"
    print(f"| {choice} | {cells} |", flush=True)


if __name__ == "__main__":
    main()
