"""Finding a model by its name: in inference/models, in another folder, or on the hub."""

import re
from pathlib import Path

from common.errors import ConfigError
from inference.clip.catalogue import (
    REVISIONS,
    hub_repository,
    image_partner,
    multilingual_of,
    normal_name,
)
from inference.clip.model_files import MODELS, is_model

REPOSITORY = re.compile(r"[\w.-]+/[\w.-]+(@[\w.-]+)?")
"""`owner/name` or `owner/name@revision` of the hub."""


def find_model(name: str, root: Path) -> Path:
    """The folder of the model `name`, downloaded if necessary; raises ConfigError.

    A relative path starts from `root`. `owner/name@revision` is a pinned repository of the hub.
    """
    for folder in (MODELS / folder_name(name), root / name):
        if is_model(folder):
            return folder
    repository = hub_repository(name)
    revision = REVISIONS.get(repository or "", "")
    if not repository and REPOSITORY.fullmatch(name):
        repository, _, revision = name.partition("@")
    if not repository:
        raise ConfigError(
            f"no model {name!r}: none that ships ({', '.join(_shipped())}), no folder with one,"
            " and no export of it is known on the hub. If open_clip has it, make one:"
            f" python inference/export.py {name}"
        )
    from inference.clip.hub import download

    return download(repository, revision or None)


def _shipped() -> list[str]:
    return sorted(path.name for path in MODELS.iterdir() if is_model(path))


def mclip_of(clip: str, mclip: str | None) -> str | None:
    """The model for the role mclip. `mclip` is the value in config.json: a name, auto, or None.

    Raises ConfigError if the text tower is known to be trained for another model's images.
    """
    if mclip == "auto":
        return multilingual_of(clip)
    partner, known = image_partner(mclip or ""), normal_name(clip)
    if partner and "::" in known and known not in (partner, normal_name(mclip or "")):
        raise ConfigError(
            f"config: Inference.mclip {mclip} was taught to meet the images of {partner},"
            f" and Inference.clip is {clip}: set clip to {partner}"
        )
    return mclip


def shown_name(name: str, folder: Path) -> str:
    """The name of a model in replies: the last part of a path, else the normal spelling."""
    return folder.name if folder.name == Path(name).name else normal_name(name)


def folder_name(name: str) -> str:
    """The name of the folder in inference/models to which the model `name` is exported."""
    return normal_name(name).replace("/", "_").replace("::", "__")
