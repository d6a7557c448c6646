"""What an archive holds beside our code and its model: how the model is served."""

from pathlib import Path

import msgspec

from common.config import Inference
from common.errors import ConfigError
from common.wire import UNREADABLE

FILE = "serving.json"


class Contents(msgspec.Struct, frozen=True):
    """The name of the model's folder, the space that it is compared in, and our settings."""

    model: str
    space: str
    """Of the image tower of clip, for mclip too: see `ServedModel`."""
    settings: Inference


def write_contents(folder: Path, contents: Contents) -> None:
    """Write what an archive that is made of `folder` holds."""
    (folder / FILE).write_bytes(msgspec.json.format(msgspec.json.encode(contents)))


def read_contents(folder: Path) -> Contents:
    """Read what the unpacked archive `folder` holds; raises ConfigError."""
    try:
        return msgspec.json.decode((folder / FILE).read_bytes(), type=Contents)
    except (OSError, *UNREADABLE) as error:
        raise ConfigError(f"the archive has no proper {FILE}: {error}") from None
