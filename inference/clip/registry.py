"""Finding a model by its name: one that ships or was exported, a folder, or one on the hub."""

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


def find_model(name: str, root: Path) -> Path:
    """The folder of the model `name`, downloaded where it has to be; raises ConfigError.

    A path starts from `root`. A repository of the hub may be pinned: `owner/name@revision`.
    """
    for folder in (MODELS / folder_name(name), root / name):
        if is_model(folder):
            return folder
    repository = hub_repository(name)
    revision = REVISIONS.get(repository or "", "")
    if not repository and re.fullmatch(r"[\w.-]+/[\w.-]+(@[\w.-]+)?", name):
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
    """The model for the role mclip, `mclip` being config.json's: a name, auto, or None.

    Raises ConfigError for a text tower that is known to meet the images of another model.
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
    """What the model `name`, found in `folder`, is called in answers: a path by its last part."""
    return folder.name if folder.name == Path(name).name else normal_name(name)


def folder_name(name: str) -> str:
    """The folder in inference/models that the model `name` is exported to."""
    return normal_name(name).replace("/", "_").replace("::", "__")
