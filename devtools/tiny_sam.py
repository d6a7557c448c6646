"""A tiny Segment Anything model: real ONNX files that find plain shapes by their colour, at once.

A mask is every cell of 16x16 pixels that has the colour of the clicked cell, or of the cell in the
middle of a box. So a shape of one colour, whose edges are edges of cells, is exactly its own mask.
Pixels count where the longer side of the image has 1,024.
"""

from pathlib import Path

import numpy as np
import onnx
from onnx import numpy_helper, parser
from PIL import Image

from devtools.photos import turned

CLICK_SCORE, BOX_SCORE = 0.8, 0.95
"""The score of the right mask for a click, and for a prompt of several parts."""

SHAPE = (0.15625, 0.4375, 0.46875, 0.875)
"""The box of the shape in `picture`, in parts of 1."""

HEAD = '<ir_version: 10, opset_import: ["" : 18]>'
CELLS = """
    cells = AveragePool <kernel_shape = [16, 16], strides = [16, 16]> (pixels)
    image_embeddings = Conv (cells, weights)
"""
META_ENCODER = f"""{HEAD}
meta (float[height, width, 3] input_image) => (float[1, 256, 64, 64] image_embeddings)
<int64[2] side = {{1024, 1024}}, int64[4] before = {{0, 0, 0, 0}}, int64[1] first = {{0}}> {{
    planes = Transpose <perm = [2, 0, 1]> (input_image)
    centred = Sub (planes, mean)
    normal = Div (centred, std)
    size = Shape <start = 0, end = 2> (input_image)
    missing = Sub (side, size)
    pads = Concat <axis = 0> (before, missing)
    padded = Pad (normal, pads)
    pixels = Unsqueeze (padded, first)
    {CELLS}
}}"""
TRANSFORMERS_ENCODER = f"""{HEAD}
transformers (float[batch, 3, height, width] pixel_values)
=> (float[batch, 256, 64, 64] image_embeddings,
    float[1, 256, 64, 64] image_positional_embeddings) {{
    pixels = Identity (pixel_values)
    {CELLS}
    image_positional_embeddings = Identity (positions)
}}"""
MASKS = """
    scaled = Div (point, cell_side)
    cell = Cast <to = 7> (scaled)
    colours = Transpose <perm = [1, 2, 0]> (grid)
    colour = GatherND (colours, cell)
    apart = Sub (colours, colour)
    squared = Mul (apart, apart)
    distance = ReduceSum <keepdims = 0> (squared, last)
    nearness = Sub (most, distance)
    sign = Sign (nearness)
    wide = Unsqueeze (sign, ends)
    mask = Resize <mode = "nearest"> (wide, , scales)
    other = Neg (mask)
"""
POINT = """
    marked = Clip (numbers, zero, one)
    weights = Unsqueeze (marked, last)
    weighted = Mul (coordinates, weights)
    sum = ReduceSum <keepdims = 0> (weighted, first)
    count = ReduceSum <keepdims = 0> (weights, first)
    mean_point = Div (sum, count)
    point = Gather (mean_point, turned)
"""
META_DECODER = f"""{HEAD}
meta (float[1, 256, 64, 64] image_embeddings, float[1, points, 2] point_coords,
    float[1, points] point_labels, float[1, 1, 256, 256] mask_input, float[1] has_mask_input,
    float[2] orig_im_size)
=> (float[1, 4, height, width] masks, float[1, 4] iou_predictions,
    float[1, 4, 256, 256] low_res_masks) {{
    grid = Squeeze (image_embeddings, first)
    coordinates = Squeeze (point_coords, first)
    numbers = Squeeze (point_labels, first)
    {POINT} {MASKS}
    low_res_masks = Concat <axis = 1> (mask, other, mask, other)
    masks = Identity (low_res_masks)
    iou_predictions = Constant <value_floats = [{BOX_SCORE}, 0.3, {CLICK_SCORE}, 0.4]> ()
}}"""
TRANSFORMERS_DECODER = f"""{HEAD}
transformers (float[batch, 1, points, 2] input_points, int64[batch, 1, points] input_labels,
    float[batch, 256, 64, 64] image_embeddings, float[batch, 256, 64, 64]
    image_positional_embeddings)
=> (float[batch, 1, 3] iou_scores, float[batch, 1, 3, 256, 256] pred_masks) {{
    moved = Add (image_embeddings, image_positional_embeddings)
    grid = Squeeze (moved, first)
    coordinates = Squeeze (input_points, ends)
    whole = Squeeze (input_labels, ends)
    signed = Cast <to = 1> (whole)
    numbers = Sqrt (signed)
    {POINT} {MASKS}
    three = Concat <axis = 1> (other, mask, other)
    pred_masks = Unsqueeze (three, first)
    iou_scores = Constant <value_floats = [0.3, {CLICK_SCORE}, 0.4]> ()
}}"""
SAM2_ENCODER = f"""{HEAD}
sam2 (float[1, 3, 1024, 1024] image)
=> (float[1, 32, 256, 256] high_res_feats_0, float[1, 64, 128, 128] high_res_feats_1,
    float[1, 256, 64, 64] image_embed) {{
    fine = AveragePool <kernel_shape = [4, 4], strides = [4, 4]> (image)
    middling = AveragePool <kernel_shape = [8, 8], strides = [8, 8]> (image)
    cells = AveragePool <kernel_shape = [16, 16], strides = [16, 16]> (image)
    high_res_feats_0 = Conv (fine, weights_32)
    high_res_feats_1 = Conv (middling, weights_64)
    image_embed = Conv (cells, weights)
}}"""
SAM2_DECODER = f"""{HEAD}
sam2 (float[1, 256, 64, 64] image_embed, float[1, 32, 256, 256] high_res_feats_0,
    float[1, 64, 128, 128] high_res_feats_1, float[labels, points, 2] point_coords,
    float[labels, points] point_labels, float[labels, 1, 256, 256] mask_input,
    float[labels] has_mask_input)
=> (float[labels, 3, 256, 256] masks, float[labels, 3] iou_predictions) {{
    grid = Squeeze (image_embed, first)
    coordinates = Squeeze (point_coords, first)
    whole = Squeeze (point_labels, first)
    numbers = Sqrt (whole)
    {POINT} {MASKS}
    coarse_0 = AveragePool <kernel_shape = [4, 4], strides = [4, 4]> (high_res_feats_0)
    coarse_1 = AveragePool <kernel_shape = [2, 2], strides = [2, 2]> (high_res_feats_1)
    part_0 = Slice (image_embed, none, thirty_two, channels)
    part_1 = Slice (image_embed, none, sixty_four, channels)
    apart_0 = Sub (coarse_0, part_0)
    apart_1 = Sub (coarse_1, part_1)
    distance_0 = ReduceL2 <keepdims = 0> (apart_0)
    distance_1 = ReduceL2 <keepdims = 0> (apart_1)
    distances = Add (distance_0, distance_1)
    off = Floor (distances)
    right = Sub (mask, off)
    three = Concat <axis = 1> (other, right, other)
    masks = Identity (three)
    iou_predictions = Constant <value_floats = [0.3, {CLICK_SCORE}, 0.4]> ()
}}"""
"""Features that do not belong together move all logits below zero."""

CONSTANTS = {
    "weights_32": np.eye(32, 3, dtype=np.float32)[:, :, None, None],
    "weights_64": np.eye(64, 3, dtype=np.float32)[:, :, None, None],
    "none": np.array([0]),
    "channels": np.array([1]),
    "thirty_two": np.array([32]),
    "sixty_four": np.array([64]),
    "weights": np.eye(256, 3, dtype=np.float32)[:, :, None, None],
    "mean": np.array([123.675, 116.28, 103.53], np.float32)[:, None, None],
    "std": np.array([58.395, 57.12, 57.375], np.float32)[:, None, None],
    "positions": np.full((1, 256, 64, 64), 0.5, np.float32),
    "cell_side": np.array(16, np.float32),
    "most": np.array(4, np.float32),
    "zero": np.array(0, np.float32),
    "one": np.array(1, np.float32),
    "first": np.array([0]),
    "last": np.array([-1]),
    "ends": np.array([0, 1]),
    "turned": np.array([1, 0]),
    "scales": np.array([1, 1, 4, 4], np.float32),
}


def write_meta_sam(folder: Path) -> Path:
    """Write the model as Meta's and samexporter's are; returns its folder."""
    _write(folder / "encoder.onnx", META_ENCODER)
    _write(folder / "decoder.onnx", META_DECODER)
    return folder


def write_transformers_sam(folder: Path, suffix: str = "") -> Path:
    """Write the model as those of transformers.js are; returns its folder.

    They take no box, and no point of no meaning: a label below 0 fails.
    """
    _write(folder / f"onnx/vision_encoder{suffix}.onnx", TRANSFORMERS_ENCODER)
    _write(folder / f"onnx/prompt_encoder_mask_decoder{suffix}.onnx", TRANSFORMERS_DECODER)
    return folder


def write_sam2(folder: Path) -> Path:
    """Write the model as samexporter writes SAM 2; returns its folder."""
    _write(folder / "encoder.onnx", SAM2_ENCODER)
    _write(folder / "decoder.onnx", SAM2_DECODER)
    return folder


def picture(kind: str = "PNG", orientation: int = 1) -> bytes:
    """A file of 1024x512 pixels, upright: a white shape on red.

    `orientation` is that of EXIF: 1, or 6 for a camera that was turned to the left.
    """
    image = Image.new("RGB", (1024, 512), "red")
    x0, y0, x1, y1 = (int(part * image.size[place % 2]) for place, part in enumerate(SHAPE))
    image.paste("white", (x0, y0, x1, y1))
    return turned(image, kind, orientation)


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    model = parser.parse_model(text)
    made = {name for node in model.graph.node for name in node.output}
    used = {name for node in model.graph.node for name in node.input} - made
    used -= {given.name for given in model.graph.input}
    known = {given.name for given in model.graph.initializer}
    for name in sorted(used - known - {""}):
        model.graph.initializer.append(numpy_helper.from_array(CONSTANTS[name], name))
    onnx.checker.check_model(model)
    onnx.save(model, path)
