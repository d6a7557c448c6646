"""The known models: the normal spelling of a name, its repository on the hub, its image partner.

The normal spelling is `ARCHITECTURE::TAG`, both as open_clip writes them (`ViT-B-32::openai`).
M-CLIP's text towers have no tag: their normal spelling is the bare name.
"""

OPENAI = {
    "RN50": "RN50",
    "RN101": "RN101",
    "RN50x4": "RN50x4",
    "RN50x16": "RN50x16",
    "RN50x64": "RN50x64",
    "ViT-B/32": "ViT-B-32",
    "ViT-B/16": "ViT-B-16",
    "ViT-L/14": "ViT-L-14",
    "ViT-L/14@336px": "ViT-L-14-336",
}
"""OpenAI's names, from clip/clip.py in github.com/openai/CLIP, to open_clip's names."""

MCLIP_PARTNERS = {
    "LABSE-Vit-L-14": "ViT-L-14::openai",
    "XLM-Roberta-Large-Vit-B-16Plus": "ViT-B-16-plus-240::laion400m_e32",
    "XLM-Roberta-Large-Vit-B-32": "ViT-B-32::openai",
    "XLM-Roberta-Large-Vit-L-14": "ViT-L-14::openai",
}
"""M-CLIP's text towers, and the model whose image space each was trained for. Source: the README
of github.com/FreddeFrallan/Multilingual-CLIP; the tags are those in Immich's mclip.py."""

PARTNERS = MCLIP_PARTNERS | {
    # Source: the model card. The image tower is the frozen image tower of ViT-H-14.
    "xlm-roberta-large-ViT-H-14::frozen_laion5b_s13b_b90k": "ViT-H-14::laion2b_s32b_b79k",
}

MULTILINGUAL = ("xlm-roberta", "labse", "nllb-clip", "-i18n", "siglip2")
"""Parts of model names, in lower case. Source: the model cards, which say that the models with
these names read many languages."""

PUBLISHER = "immich-app"
PUBLISHED = (
    "RN50__openai",
    "RN101__openai",
    "RN50x4__openai",
    "RN50x16__openai",
    "RN50x64__openai",
    "ViT-B-32__openai",
    "ViT-B-16__openai",
    "ViT-L-14__openai",
    "ViT-L-14-336__openai",
    "RN50__cc12m",
    "RN50__yfcc15m",
    "RN101__yfcc15m",
    "ViT-B-32__laion400m_e31",
    "ViT-B-32__laion400m_e32",
    "ViT-B-32__laion2b_e16",
    "ViT-B-32__laion2b-s34b-b79k",
    "ViT-B-16__laion400m_e31",
    "ViT-B-16__laion400m_e32",
    "ViT-B-16-plus-240__laion400m_e31",
    "ViT-B-16-plus-240__laion400m_e32",
    "ViT-L-14__laion400m_e31",
    "ViT-L-14__laion400m_e32",
    "ViT-L-14__laion2b-s32b-b82k",
    "ViT-H-14__laion2b-s32b-b79k",
    "ViT-g-14__laion2b-s12b-b42k",
    "ViT-L-14-quickgelu__dfn2b",
    "ViT-H-14-quickgelu__dfn5b",
    "ViT-H-14-378-quickgelu__dfn5b",
    "ViT-B-16-SigLIP__webli",
    "ViT-B-16-SigLIP-256__webli",
    "ViT-B-16-SigLIP-384__webli",
    "ViT-B-16-SigLIP-512__webli",
    "ViT-B-16-SigLIP-i18n-256__webli",
    "ViT-L-16-SigLIP-256__webli",
    "ViT-L-16-SigLIP-384__webli",
    "ViT-SO400M-14-SigLIP-384__webli",
    "ViT-B-32-SigLIP2-256__webli",
    "ViT-B-16-SigLIP2__webli",
    "ViT-L-16-SigLIP2-256__webli",
    "ViT-L-16-SigLIP2-384__webli",
    "ViT-L-16-SigLIP2-512__webli",
    "ViT-SO400M-14-SigLIP2__webli",
    "ViT-SO400M-14-SigLIP2-378__webli",
    "ViT-SO400M-16-SigLIP2-256__webli",
    "ViT-SO400M-16-SigLIP2-384__webli",
    "ViT-SO400M-16-SigLIP2-512__webli",
    "ViT-gopt-16-SigLIP2-256__webli",
    "ViT-gopt-16-SigLIP2-384__webli",
    "XLM-Roberta-Base-ViT-B-32__laion5b_s13b_b90k",
    "XLM-Roberta-Large-ViT-H-14__frozen_laion5b_s13b_b90k",
    "nllb-clip-base-siglip__v1",
    "nllb-clip-base-siglip__mrl",
    "nllb-clip-large-siglip__v1",
    "nllb-clip-large-siglip__mrl",
)
"""The hub repositories of the open_clip models that Immich exports. Source: `_OPENCLIP_MODELS` in
machine-learning/immich_ml/models/constants.py of github.com/immich-app/immich."""

REVISIONS = {
    "immich-app/ViT-B-32__openai": "a857c8de2c07bbcfa6646adfcf31b798845afa1e",
}
"""Pinned revisions. Several other projects pin this revision too, so its content is known."""


def normal_name(name: str) -> str:
    """The normal spelling of the model `name`; another name, such as a folder's, is unchanged."""
    if name in OPENAI:
        return f"{OPENAI[name]}::openai"
    bare = name.removeprefix(f"{PUBLISHER}/").removeprefix("M-CLIP/")
    if bare in MCLIP_PARTNERS:
        return bare
    if "::" in bare:
        return _joined(*bare.split("::", 1)) or name
    # A folder's name may have these separators too: accept only the name of a known model.
    for separator in ("__", ":", "/"):
        architecture, _, tag = bare.rpartition(separator)
        joined = _joined(architecture, tag)
        if joined in _REPOSITORIES:
            return joined
    return name


def hub_repository(name: str) -> str | None:
    """The Hugging Face repository with the model `name` in our layout, or None if unknown."""
    return _REPOSITORIES.get(normal_name(name))


def image_partner(name: str) -> str | None:
    """The other model whose image space the text tower of `name` was trained for, or None."""
    return PARTNERS.get(normal_name(name))


def multilingual_of(name: str) -> str | None:
    """The multilingual model for `name`: the starter's companion, `name` itself, or None."""
    if name == "starter":
        return "starter-multilingual"
    return name if any(part in normal_name(name).lower() for part in MULTILINGUAL) else None


def _joined(architecture: str, tag: str) -> str:
    """`ARCHITECTURE::TAG` as open_clip writes both, or "" if they cannot be names."""
    architecture = OPENAI.get(architecture, architecture)
    for size in ("Base", "Large"):
        architecture = architecture.replace(f"XLM-Roberta-{size}", f"xlm-roberta-{size.lower()}")
    tag = tag.lower().replace("-", "_")
    if not architecture or not tag or "/" in architecture + tag:
        return ""
    if tag == "openai":  # OpenAI's weights always use QuickGELU: both names mean one model
        architecture = architecture.removesuffix("-quickgelu")
    return f"{architecture}::{tag}"


_REPOSITORIES = {
    _joined(*published.split("__")): f"{PUBLISHER}/{published}" for published in PUBLISHED
} | {tower: f"{PUBLISHER}/{tower}" for tower in MCLIP_PARTNERS}
