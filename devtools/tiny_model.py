"""A tiny model of two random towers: a real model folder that runs in no time."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

DIM = 16
SIZE = 8
POISON = "poison"
"""A word that the tokenizer knows and the tower does not: to embed it fails."""

WORDS = ["[PAD]", "[UNK]", "a", "red", "green", "blue", "square", "photo", "of", "the"]


def write_tiny_model(folder: Path, seed: int = 0) -> Path:
    """Write the model; returns its folder. Another seed gives another embedding space."""
    weights = np.random.default_rng(seed)
    _write_visual(folder / "visual", weights.standard_normal((3 * SIZE * SIZE, DIM)))
    _write_textual(folder / "textual", weights.standard_normal((len(WORDS), DIM)))
    config = {"embed_dim": DIM, "text_cfg": {"context_length": 8}}
    (folder / "config.json").write_text(json.dumps(config))
    return folder


def _write_visual(folder: Path, weights: np.ndarray) -> None:
    folder.mkdir(parents=True)
    nodes = [
        helper.make_node("Flatten", ["image"], ["flat"]),
        helper.make_node("MatMul", ["flat", "weights"], ["embedding"]),
    ]
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, ["batch", 3, SIZE, SIZE])
    _save(folder / "model.onnx", nodes, [image], weights)
    preprocessing = {"size": SIZE, "mean": [0.5, 0.5, 0.5], "std": [0.25, 0.25, 0.25]}
    (folder / "preprocess_cfg.json").write_text(json.dumps(preprocessing))


def _write_textual(folder: Path, weights: np.ndarray) -> None:
    """Write a tower that adds the vectors of the words; the mask leaves padding out."""
    folder.mkdir(parents=True)
    nodes = [
        helper.make_node("Gather", ["weights", "input_ids"], ["words"]),
        helper.make_node("Cast", ["attention_mask"], ["mask"], to=TensorProto.FLOAT),
        helper.make_node("Unsqueeze", ["mask", "last"], ["wide"]),
        helper.make_node("Mul", ["words", "wide"], ["kept"]),
        helper.make_node("ReduceSum", ["kept", "middle"], ["embedding"], keepdims=0),
    ]
    inputs = [
        helper.make_tensor_value_info(name, TensorProto.INT64, ["batch", "length"])
        for name in ("input_ids", "attention_mask")
    ]
    _save(folder / "model.onnx", nodes, inputs, weights)
    vocabulary = {word: number for number, word in enumerate([*WORDS, POISON])}
    tokenizer = {
        "version": "1.0",
        "pre_tokenizer": {"type": "Whitespace"},
        "model": {"type": "WordLevel", "vocab": vocabulary, "unk_token": "[UNK]"},
    }
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer))


def _save(path: Path, nodes: list[Any], inputs: list[Any], weights: np.ndarray) -> None:
    embedding = helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["batch", DIM])
    constants = [
        numpy_helper.from_array(weights.astype(np.float32), "weights"),
        numpy_helper.from_array(np.array([2]), "last"),
        numpy_helper.from_array(np.array([1]), "middle"),
    ]
    graph = helper.make_graph(
        nodes,
        "tiny",
        inputs,
        [embedding],
        [constant for constant in constants if any(constant.name in node.input for node in nodes)],
    )
    opset = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=10), path)
