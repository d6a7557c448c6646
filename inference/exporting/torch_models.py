"""open_clip's and M-CLIP's models in torch, for export.py and for the torch runtime.

Needs requirements-torch.txt.
"""

import json
from pathlib import Path
from typing import Any, NamedTuple

import open_clip
import torch
from huggingface_hub import snapshot_download
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from common.errors import ConfigError
from inference.clip.catalogue import MCLIP_PARTNERS, normal_name
from inference.exporting.pooled_token import pool_early

OPEN_CLIP_CONFIG = "open_clip_config.json"
BASE = "base"
"""The folder in textual/ with the configuration of the tower's transformers model."""
M_CLIP_TOKENS = 128
"""The most tokens of a text, special tokens included. The original names no limit; at the 512
positions of its network, a text of 2,000 characters would hold up all others for seconds."""
NOT_MODEL = ("custom_text", "logit_scale", "logit_bias")
"""Keys of config.json that `open_clip.CustomTextCLIP` does not take."""


class Original(NamedTuple):
    """A model in torch, as its authors run it. An M-CLIP model has no image tower."""

    config: dict[str, Any]
    """For config.json: open_clip's `model_cfg`."""
    preprocessing: dict[str, Any] | None
    image: nn.Module | None
    """float32 [n, 3, height, width] -> [n, dim]"""
    text: nn.Module
    """Token ids, and for M-CLIP an attention mask, int64 [n, length] -> [n, dim]."""
    tokenizer: Any
    """open_clip's, or transformers' for M-CLIP."""


class CausalSlice(nn.Module):
    """A text transformer that takes any length: the mask is cut to the length of the input."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    @property
    def resblocks(self) -> nn.ModuleList:
        """The blocks."""
        blocks: nn.ModuleList = self.inner.resblocks
        return blocks

    def get_cast_dtype(self) -> torch.dtype:
        """The type of the weights."""
        dtype: torch.dtype = self.inner.get_cast_dtype()
        return dtype

    def forward(self, x: Tensor, attn_mask: Tensor | None = None) -> Tensor:
        """Token vectors [n, length, width] to token vectors of the same shape."""
        length = x.shape[1]
        if attn_mask is not None:
            attn_mask = attn_mask[..., :length, :length]
        rows: Tensor = self.inner(x, attn_mask=attn_mask)
        return rows


class MClipText(nn.Module):
    """The text tower of M-CLIP: the mean of a transformer's token vectors, projected.

    Source: multilingual_clip/pt_multilingual_clip.py. Current transformers cannot load its class.
    """

    def __init__(self, config: dict[str, Any]) -> None:
        super().__init__()
        from transformers import AutoConfig, AutoModel

        base = AutoConfig.from_pretrained(config["modelBase"])
        self.transformer = AutoModel.from_config(base)
        self.LinearTransformation = nn.Linear(config["transformerDimensions"], config["numDims"])

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Token ids and mask [n, length] to [n, dim]."""
        tokens = self.transformer(input_ids=input_ids, attention_mask=attention_mask)[0]
        weights = attention_mask.unsqueeze(2)
        mean = (tokens * weights).sum(dim=1) / weights.sum(dim=1)
        rows: Tensor = self.LinearTransformation(mean)
        return rows


def load_original(name: str, root: Path) -> Original:
    """Load a model with its weights: a folder, or a name of open_clip or M-CLIP.

    Raises ConfigError for an unknown name, and the errors of huggingface_hub.
    """
    name = normal_name(name)
    folder = root / name
    if (folder / OPEN_CLIP_CONFIG).is_file():
        config = json.loads((folder / OPEN_CLIP_CONFIG).read_bytes())["model_cfg"]
        return _open_clip(f"local-dir:{folder}", None, config)
    if (folder / "config.json").is_file():
        return _m_clip(folder)
    if name in MCLIP_PARTNERS:
        return _m_clip(Path(snapshot_download(f"M-CLIP/{name}", ignore_patterns=["*.h5", "*.md"])))
    architecture, _, tag = name.partition("::")
    weights = open_clip.get_pretrained_cfg(architecture, tag)
    config = open_clip.get_model_config(architecture)
    if not weights or not config:
        raise ConfigError(
            f"{name!r} is no folder with a model, nor does open_clip or M-CLIP know it"
        )
    # open_clip only warns if the weights were trained with the other activation function.
    config["quick_gelu"] = bool(weights.get("quick_gelu") or config.get("quick_gelu"))
    return _open_clip(architecture, tag, config)


def _open_clip(name: str, tag: str | None, config: dict[str, Any]) -> Original:
    if "multimodal_cfg" in config:
        raise ConfigError(f"{name} is a CoCa model, which makes texts: not supported")
    model = open_clip.create_model(
        name,
        tag,
        force_quick_gelu=config.get("quick_gelu", False),
        force_custom_text=True,  # the class with two separate towers
        require_pretrained=True,
    ).eval()
    config = {**config, "logit_scale": model.logit_scale.exp().item()}
    if model.logit_bias is not None:
        config["logit_bias"] = model.logit_bias.item()
    return Original(
        config,
        open_clip.get_model_preprocess_cfg(model),
        model.visual,
        _text_of(model),
        open_clip.get_tokenizer(name),
    )


def _text_of(model: nn.Module) -> nn.Module:
    text: nn.Module = model.text
    if isinstance(text, open_clip.transformer.TextTransformer):
        text.transformer = CausalSlice(text.transformer)
    return text


def _m_clip(folder: Path) -> Original:
    from transformers import AutoTokenizer

    config = json.loads((folder / "config.json").read_bytes())
    if "transformerDimensions" not in config:
        raise ConfigError(f"{folder} is neither an open_clip nor an M-CLIP model")
    if (folder / config["modelBase"]).is_dir():
        config["modelBase"] = str(folder / config["modelBase"])
    text = MClipText(config).eval()
    weights = folder / "model.safetensors"
    if weights.is_file():
        state = load_file(weights)
    else:  # the hub has a pickle, from which only tensors are read
        state = torch.load(folder / "pytorch_model.bin", weights_only=True, map_location="cpu")
    state.pop("transformer.embeddings.position_ids", None)  # of older transformers; no weights
    text.load_state_dict(state)
    kept = ("modelBase", "transformerDimensions", "numDims")
    described = {
        "embed_dim": config["numDims"],
        "text_cfg": {
            "context_length": M_CLIP_TOKENS,
            "hf_tokenizer_name": config["modelBase"],
            "tokenizer_kwargs": {"clean": "none"},
        },
        "m_clip": {key: config[key] for key in kept},
    }
    return Original(described, None, None, text, AutoTokenizer.from_pretrained(folder))


def load_tower(weights: Path, config: dict[str, Any]) -> nn.Module:
    """Build a tower of an exported model with its `weights`, a safetensors file."""
    tower: nn.Module
    base = str(weights.parent.parent / "textual" / BASE)
    if "m_clip" in config:
        tower = MClipText({**config["m_clip"], "modelBase": base})
    else:
        known = {key: value for key, value in config.items() if key not in NOT_MODEL}
        if "hf_model_name" in known["text_cfg"]:
            theirs = {"hf_model_name": base, "hf_model_pretrained": False}
            known["text_cfg"] = {**known["text_cfg"], **theirs}
        model = open_clip.CustomTextCLIP(**known)
        tower = model.visual if weights.parent.name == "visual" else _text_of(model)
    tower.load_state_dict(load_file(weights))
    return pool_early(tower.eval())


def save_weights(model: nn.Module, path: Path) -> None:
    """Write the weights of a model, or of one tower, as safetensors."""
    # Copies, because safetensors refuses tensors that share memory.
    save_file(
        {name: value.clone().contiguous() for name, value in model.state_dict().items()}, path
    )
