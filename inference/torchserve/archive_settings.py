"""The settings file in an archive for TorchServe, which says how the model is served."""

from pathlib import Path

import msgspec

from common.config import Inference
from common.errors import ConfigError
from common.wire import UNREADABLE

FILE = "serving.json"


class Contents(msgspec.Struct, frozen=True):
    """The role of the archive's model, its name, its space, and the settings of the role."""

    role: str
    model: str
    space: str
    """The digest of clip's image tower, also in the archive of mclip: see `ServedModel`."""
    settings: Inference


def write_contents(folder: Path, contents: Contents) -> None:
    """Write the settings file into `folder`, from which the archive is made."""
    (folder / FILE).write_bytes(msgspec.json.format(msgspec.json.encode(contents)))


def read_contents(folder: Path) -> Contents:
    """Read the settings file of the unpacked archive `folder`; raises ConfigError."""
    try:
        return msgspec.json.decode((folder / FILE).read_bytes(), type=Contents)
    except (OSError, *UNREADABLE) as error:
        raise ConfigError(f"the archive has no proper {FILE}: {error}") from None
