"""Writing a Segment Anything checkpoint as two ONNX files; needs requirements-torch.txt."""

import warnings
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from segment_anything import sam_model_registry
from segment_anything.utils.onnx import SamOnnxModel
from torch import nn

from common.config import CHECKOUT, Inference
from common.errors import ConfigError, first_line
from inference.messages import Point, Region
from inference.segment.sam import load_sam
from inference.segment.sam_decoder import MASK_SIDE, choose, enlarge, prompt_arrays
from inference.segment.sam_encoder import SamEncoder, normalise
from inference.segment.sam_layout import SAM, SIDE, resized

OPSET = 17
COSINE_FLOOR, IOU_FLOOR = 0.9999, 0.99
"""The least accepted cosine of features, and overlap of masks, with those of torch."""
WIDTHS = {768: "vit_b", 1024: "vit_l", 1280: "vit_h"}
"""Meta's names of the architectures, by the numbers of a part of an image."""
PHOTOS = sorted((CHECKOUT / "samples").glob("*.jpg"))[::40]
PROMPTS: tuple[tuple[list[Point], Region | None], ...] = (
    ([(0.5, 0.5, 1)], None),
    ([(0.4, 0.5, 1), (0.6, 0.5, 1)], None),
    ([(0.4, 0.5, 1), (0.6, 0.5, 1), (0.5, 0.4, 1), (0.1, 0.1, 0), (0.9, 0.9, 0)], None),
    ([], (0.25, 0.25, 0.75, 0.75)),
    ([(0.5, 0.5, 1)], (0.25, 0.25, 0.75, 0.75)),
)


def write_sam(checkpoint: Path, folder: Path) -> None:
    """Write encoder.onnx and decoder.onnx into a new folder; raises ConfigError."""
    folder.mkdir(parents=True)
    model = build_sam(checkpoint)
    print("writing the encoder", flush=True)
    pixels = {"pixel_values": torch.zeros(1, 3, SIDE, SIDE)}
    _write(model.image_encoder, pixels, ["image_embeddings"], {}, folder / "encoder.onnx")
    print("writing the decoder", flush=True)
    prompt = {
        **{name: torch.zeros(shape) for name, shape in SAM.features.items()},
        "point_coords": torch.zeros(1, 5, 2),
        "point_labels": torch.zeros(1, 5),
        "mask_input": torch.zeros(1, 1, MASK_SIDE, MASK_SIDE),
        "has_mask_input": torch.zeros(1),
        "orig_im_size": torch.tensor([MASK_SIDE, MASK_SIDE], dtype=torch.float32),
    }
    sizes = {"point_coords": {1: "points"}, "point_labels": {1: "points"}}
    outputs = ["masks", "iou_predictions", "low_res_masks"]
    decoder = SamOnnxModel(model, return_single_mask=False)
    _write(decoder, prompt, outputs, sizes, folder / "decoder.onnx")


def build_sam(checkpoint: Path) -> Any:
    """The torch model of a checkpoint, whose weights tell its architecture; raises ConfigError."""
    try:
        weights = torch.load(checkpoint, weights_only=True, map_location="cpu")
        is_tiny = "image_encoder.patch_embed.seq.0.c.weight" in weights
        name = "vit_t" if is_tiny else WIDTHS[weights["image_encoder.pos_embed"].shape[-1]]
        model = new_sam(name)
        model.load_state_dict(weights)
    except Exception as error:  # torch has no common class for what it cannot read
        message = first_line(error)
        raise ConfigError(f"{checkpoint} is no checkpoint of SAM or MobileSAM: {message}") from None
    # TinyViT computes the biases of its attention when it is set to evaluate.
    return model.eval()


def new_sam(name: str) -> nn.Module:
    """A model with random weights: Meta's, or MobileSAM's, which is called vit_t."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # mobile_sam's imports are old, and torch says so
        if name != "vit_t":
            return sam_model_registry[name]()
        import mobile_sam

        return mobile_sam.sam_model_registry[name]()


def _write(
    network: nn.Module,
    example: dict[str, torch.Tensor],
    outputs: list[str],
    sizes: dict[str, dict[int, str]],
    path: Path,
) -> None:
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # tracing warns of each size that it takes for constant
        torch.onnx.export(
            network,
            tuple(example.values()),
            path,
            input_names=list(example),
            output_names=outputs,
            dynamic_axes=sizes,
            opset_version=OPSET,
            dynamo=False,  # which cannot trace the decoder's cut to the shape of the image
        )


def check_sam(checkpoint: Path, folder: Path) -> str:
    """Compare an export with torch on photos and prompts; returns a line with the worst.

    The model is built anew, as exporting changes MobileSAM's in memory. Raises ConfigError if the
    features or the masks differ too much.
    """
    original, exported = build_sam(checkpoint), load_sam(str(folder.resolve()), Inference(), Path())
    encoder = cast(SamEncoder, exported.encoder)
    cosines, overlaps = [], []
    for path in PHOTOS:
        with Image.open(path) as photo:
            size, features = (photo.height, photo.width), torch_features(original, photo)
            (ours,) = encoder.encode(photo)
        cosines.append(cosine(ours, features))
        for points, box in PROMPTS:
            prompt = prompt_arrays(resized(size), points, box)
            masks, scores = exported.decoder.run([ours.astype(np.float16)], prompt)
            mask = masks[choose(scores, is_click=len(points) == 1 and not box)]
            theirs = torch_mask(original, features, size, points, box)
            overlaps.append(overlap(enlarge(mask, resized(size), size) > 0, theirs))
    line = f"worst cosine with torch {min(cosines):.6f}, worst overlap of masks {min(overlaps):.4f}"
    if not (min(cosines) >= COSINE_FLOOR and min(overlaps) >= IOU_FLOOR):
        raise ConfigError(f"{line}: below {COSINE_FLOOR} or {IOU_FLOOR}")
    return line


def torch_features(model: Any, photo: Image.Image) -> NDArray[np.float32]:
    """The features of a photo by torch, with Pillow's own resizing, as in SAM's own code."""
    height, width = resized((photo.height, photo.width))
    small = photo.convert("RGB").resize((width, height), Image.Resampling.BILINEAR)
    with torch.inference_mode():
        pixels = torch.from_numpy(normalise(np.asarray(small, dtype=np.float32)))
        return model.image_encoder(pixels).numpy()  # type: ignore[no-any-return]


def torch_mask(
    model: Any,
    features: NDArray[np.float32],
    size: tuple[int, int],
    points: list[Point],
    box: Region | None,
) -> NDArray[np.bool_]:
    """The mask of a prompt by torch's own prompt encoder, decoder and enlargement."""
    coordinates, labels = prompt_arrays(resized(size), points, box)
    clicks, corners = (
        (coordinates[: len(points)], labels[: len(points)]),
        coordinates[len(points) :],
    )
    with torch.inference_mode():
        sparse, dense = model.prompt_encoder(
            points=tuple(torch.from_numpy(part)[None] for part in clicks) if points else None,
            boxes=torch.from_numpy(corners.reshape(1, 4)) if box else None,
            masks=None,
        )
        is_click = len(points) == 1 and not box
        masks, scores = model.mask_decoder(
            image_embeddings=torch.from_numpy(features),
            image_pe=model.prompt_encoder.get_dense_pe(),
            sparse_prompt_embeddings=sparse,
            dense_prompt_embeddings=dense,
            multimask_output=is_click,
        )
        chosen = int(scores[0].argmax())
        whole = model.postprocess_masks(masks[:, chosen : chosen + 1], resized(size), size)
    return (whole[0, 0] > 0).numpy()  # type: ignore[no-any-return]


def cosine(ours: NDArray[Any], theirs: NDArray[Any]) -> float:
    """The cosine between two arrays as vectors."""
    left, right = ours.ravel().astype(np.float64), theirs.ravel().astype(np.float64)
    return float(left @ right / np.linalg.norm(left) / np.linalg.norm(right))


def overlap(ours: NDArray[np.bool_], theirs: NDArray[np.bool_]) -> float:
    """The intersection of two masks over their union."""
    union = (ours | theirs).sum()
    return float((ours & theirs).sum() / union) if union else 1.0
