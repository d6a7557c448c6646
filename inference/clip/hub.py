"""Downloading models from the Hugging Face hub into the hub's own cache."""

import logging
from collections.abc import Callable, Sequence
from contextlib import suppress
from errno import EACCES, EDQUOT, ENOSPC, ENOTDIR, EPERM, EROFS
from functools import partial
from pathlib import Path

from common.errors import ConfigError, first_line
from inference.clip.catalogue import hub_repository
from inference.clip.model_files import is_model

log = logging.getLogger(__name__)

NOT_KEPT = (ENOSPC, EDQUOT, EACCES, EROFS, EPERM, ENOTDIR)
"""The errno of a disk that is full or a folder that cannot be written."""
OTHER_ENGINES = ["*.armnn", "*.rknn", "*/fp16/*", "*/rknpu/*", "*.md", ".gitattributes"]
"""Files in these repositories that our runtimes do not read."""


def download(repository: str, revision: str | None = None) -> Path:
    """Fetch the repository of a CLIP model, all of it but `OTHER_ENGINES`; as `fetch`."""

    def missing(folder: Path) -> list[str]:
        """The towers that are not there; a repository that is not known may have one alone."""
        towers = (folder / name for name in ("textual", "visual"))
        wanted = [tower for tower in towers if hub_repository(repository) or tower.is_dir()]
        return [tower.name for tower in wanted if not (tower / "model.onnx").exists()]

    def is_whole(folder: Path) -> bool:
        return is_model(folder) and not missing(folder)

    folder = fetch(repository, revision, is_whole, leave_out=OTHER_ENGINES)
    if not is_model(folder):
        raise ConfigError(f"the repository {repository} holds no model in a layout that we read")
    if towers := missing(folder):
        raise ConfigError(f"{repository}: the download is not whole: {towers[0]} is missing")
    return folder


def fetch(
    repository: str,
    revision: str | None,
    is_whole: Callable[[Path], object],
    *,
    only: Sequence[str] | None = None,
    leave_out: Sequence[str] = (),
) -> Path:
    """Download a repository, unless the cache has it; returns its folder. Raises ConfigError.

    A revision that the cache has is kept, though the hub may have a newer one, if `is_whole` says
    of its folder that nothing is missing: the cache itself does not always know. An interrupted
    download continues, of the same revision. `only` and `leave_out` are patterns of file names.

    huggingface_hub itself reads `HF_HOME`, `HF_HUB_OFFLINE`, `HF_TOKEN` and `HF_ENDPOINT`.
    """
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import (
        GatedRepoError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    get = partial(
        snapshot_download,
        repository,
        revision=revision,
        allow_patterns=list(only) if only else None,
        ignore_patterns=list(leave_out),
    )
    for client in ("httpx", "httpx2"):  # they log each request; the progress bar is enough
        logging.getLogger(client).setLevel(logging.WARNING)
    try:
        # What is here and whole stays: newer weights would not fit the index that was made with it.
        with suppress(LocalEntryNotFoundError):
            if is_whole(kept := Path(get(local_files_only=True))):
                return Path(get(revision=kept.name)) if _is_broken_off(kept) else kept
        log.info("model %s: looking at the hub", repository)
        return Path(get())
    except GatedRepoError:
        raise ConfigError(
            f"{repository} is gated: agree to its terms on its page, and set HF_TOKEN"
        ) from None
    except (RepositoryNotFoundError, RevisionNotFoundError):
        at = f" at revision {revision}" if revision else ""
        told = "is no folder with a model, and the hub has no public repository of that name"
        raise ConfigError(f"{repository} {told}{at}") from None
    except Exception as error:  # the errors of the network and the disk have no class in common
        if isinstance(error, OSError) and error.errno in NOT_KEPT:
            raise ConfigError(f"{repository}: cannot be kept: {error}") from None
        at = f" --revision {revision}" if revision else ""
        raise ConfigError(
            f"{repository} is no folder with a model, it is not in the hub's cache, and the hub"
            f" cannot be reached ({first_line(error)}). Either download it where"
            f" there is a network (hf download {repository}{at}) and copy the folder"
            " that HF_HOME names, ~/.cache/huggingface by default; or name a model that is on this"
            ' machine: "starter", or a folder'
        ) from None


def _is_broken_off(kept: Path) -> bool:
    """Whether a file of a repository in the cache was begun, and is not whole."""
    blobs = kept.parents[1] / "blobs"
    begun = {path.name.partition(".")[0] for path in blobs.glob("*.incomplete")}
    return not all((blobs / name).exists() for name in begun)
