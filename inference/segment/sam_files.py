"""The two files of a Segment Anything model, by their names in a folder or on the hub."""

from pathlib import Path
from typing import NamedTuple

from common.errors import ConfigError
from inference.clip.model_files import MODELS
from inference.clip.registry import REPOSITORY, folder_name

LAYOUTS = (
    ("encoder.onnx", "decoder.onnx"),  # samexporter, AnyLabeling, and our export.py
    ("mobile_sam_image_encoder.onnx", "sam_mask_decoder_multi.onnx"),  # Acly/MobileSAM
    ("mobile_sam_image_encoder.onnx", "sam_mask_decoder_single.onnx"),
    ("sam2_hiera_tiny_encoder.onnx", "sam2_hiera_tiny_decoder.onnx"),  # SAM 2
)
VIT_NAME = "vision_encoder"
"""How the names of encoders for transformers.js begin, which are vision transformers."""
TRANSFORMERS_JS = (f"onnx/{VIT_NAME}{{}}.onnx", "onnx/prompt_encoder_mask_decoder{}.onnx")


class SamFiles(NamedTuple):
    """The ONNX files of a model."""

    folder: Path
    encoder: Path
    decoder: Path


def find_sam(name: str, root: Path, precision: str) -> SamFiles:
    """The files of the model `name`, downloaded if necessary; raises ConfigError.

    A relative path starts from `root`. Of the layout of transformers.js, `precision` int8 takes
    the quantized files, any other the plain ones, if a folder has both.
    """
    layouts = _layouts(precision)
    for folder in (MODELS / folder_name(name), root / name):
        if found := _read(folder, layouts):
            return found
    if (root / name).is_dir() or not REPOSITORY.fullmatch(name):
        raise ConfigError(
            f"config: Inference.sam: {name} is no folder with a Segment Anything model:"
            f" {' or '.join(' and '.join(pair) for pair in layouts)}"
        )
    from inference.clip.hub import fetch

    repository, _, revision = name.partition("@")
    wanted = layouts[:-1]  # the last are those of another precision
    # Large networks have their weights in a file beside, such as vision_encoder.onnx_data.
    patterns = [f"{name}*" for pair in wanted for name in pair]
    folder = fetch(repository, revision or None, lambda kept: _read(kept, wanted), only=patterns)
    if found := _read(folder, wanted):
        return found
    raise ConfigError(
        f"the repository {repository} holds no Segment Anything model in a layout that we read"
    )


def _layouts(precision: str) -> list[tuple[str, str]]:
    """The pairs of names, those to prefer first."""
    suffixes = ("_quantized", "") if precision == "int8" else ("", "_quantized")
    encoder, decoder = TRANSFORMERS_JS
    return [*LAYOUTS, *((encoder.format(end), decoder.format(end)) for end in suffixes)]


def _read(folder: Path, layouts: list[tuple[str, str]]) -> SamFiles | None:
    for encoder, decoder in layouts:
        if (folder / encoder).is_file() and (folder / decoder).is_file():
            return SamFiles(folder, folder / encoder, folder / decoder)
    return None
