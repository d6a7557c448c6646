"""Models of random weights in the folders that open_clip and M-CLIP save: real architectures, or
small ones of the same parts."""

import json
from pathlib import Path
from typing import Any

import open_clip
import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers
from transformers import AutoModel, PreTrainedTokenizerFast, XLMRobertaConfig

from devtools.random_model import write_random
from devtools.services import CHECKOUT
from inference.exporting.export_checks import TEXTS
from inference.exporting.torch_models import MClipText, save_weights

SMALL_IMAGES = {"image_size": 64, "layers": 2, "width": 64, "patch_size": 16, "head_width": 16}
SMALL_TEXT = {"context_length": 16, "width": 32, "heads": 2, "layers": 2}
XLM = {
    "vocab_size": 1000,
    "hidden_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 128,
    "max_position_embeddings": 514,
    "pad_token_id": 1,
}
REAL = "ViT-S-32-alt"
"""open_clip's own."""
ARCHITECTURES = (REAL, "small-resnet", "small-siglip", "small-mobileclip", "small-xlm-r")


def write_original(architecture: str, folder: Path) -> Path:
    """Write a model with a seed of its own; returns its folder."""
    folder.mkdir()
    write_random(*_config(architecture, folder), folder)
    return folder


def write_m_clip(folder: Path) -> Path:
    """Write an M-CLIP text tower, its base in a folder inside; returns its folder."""
    folder.mkdir()
    torch.manual_seed(1)
    base = XLMRobertaConfig(**XLM)
    base.save_pretrained(folder / "base")
    AutoModel.from_config(base).save_pretrained(folder / "base")
    config = {"modelBase": "base", "transformerDimensions": 64, "numDims": 256}
    (folder / "config.json").write_text(json.dumps(config))
    save_weights(MClipText({**config, "modelBase": folder / "base"}), folder / "model.safetensors")
    _write_tokenizer(folder)
    return folder


def _config(architecture: str, folder: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """open_clip's `model_cfg` and `preprocess_cfg`."""
    half = {"mean": [0.5] * 3, "std": [0.5] * 3, "interpolation": "bicubic"}
    if architecture == "small-resnet":
        vision = {"image_size": 64, "layers": [1, 1, 1, 1], "width": 32, "patch_size": None}
        config = {"vision_cfg": vision, "text_cfg": SMALL_TEXT, "quick_gelu": True}
    elif architecture == "small-siglip":  # neither causal nor masked: as long as its context
        _write_tokenizer(folder)
        text = {**SMALL_TEXT, "vocab_size": 1000, "hf_tokenizer_name": str(folder)}
        text |= {"tokenizer_kwargs": {"clean": "canonicalize"}, "no_causal_mask": True}
        text |= {"proj_bias": True, "pool_type": "last"}
        config = {"vision_cfg": SMALL_IMAGES, "text_cfg": text, "custom_text": True}
        return {"embed_dim": 32, "init_logit_bias": -10, **config}, {
            **half,
            "resize_mode": "squash",
        }
    elif architecture == "small-mobileclip":
        text = {**SMALL_TEXT, "no_causal_mask": True}
        vision = {"image_size": 256, "timm_model_name": "fastvit_mci0", "timm_pool": "avg"}
        vision |= {"timm_proj": None, "timm_model_pretrained": False}
        config = {"vision_cfg": vision, "text_cfg": text, "custom_text": True}
        return {"embed_dim": 512, **config}, {"mean": [0] * 3, "std": [1] * 3}
    elif architecture == "small-xlm-r":
        _write_tokenizer(folder)
        XLMRobertaConfig(**XLM).save_pretrained(folder / "base")
        text = {"hf_model_name": str(folder / "base"), "hf_tokenizer_name": str(folder)}
        text |= {"hf_pooler_type": "mean_pooler", "hf_proj_type": "mlp"}
        config = {"vision_cfg": SMALL_IMAGES, "text_cfg": text}
    else:
        return open_clip.get_model_config(architecture), {}
    return {"embed_dim": 32, **config}, {}


def _write_tokenizer(folder: Path) -> None:
    """A tokenizer of XLM-R's kind, its thousand pieces learned from the texts that lie about."""
    lines = [*TEXTS, *(CHECKOUT / "README.md").read_text().splitlines()]
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.normalizer = normalizers.NFKC()
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    special = ["<s>", "<pad>", "</s>", "<unk>"]
    trainer = trainers.UnigramTrainer(
        vocab_size=1000,
        special_tokens=special,
        unk_token="<unk>",  # noqa: S106 no password
        show_progress=False,
    )
    tokenizer.train_from_iterator(lines, trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    names = {"bos_token": "<s>", "pad_token": "<pad>", "eos_token": "</s>", "unk_token": "<unk>"}
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, **names).save_pretrained(folder)
