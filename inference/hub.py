"""Downloading models from the Hugging Face hub, into its own cache."""

import logging
from pathlib import Path

from common.errors import ConfigError
from inference.layout import is_model

log = logging.getLogger(__name__)

OTHER_ENGINES = ["*.armnn", "*.rknn", "*/fp16/*", "*/rknpu/*", "*.md", ".gitattributes"]
"""Files of such repositories that nothing here reads."""


def download(repository: str, revision: str | None = None) -> Path:
    """The folder of a repository's files, downloaded where it is not in the cache.

    A download that broke off goes on where it was. `HF_HOME`, `HF_HUB_OFFLINE`, `HF_TOKEN` and
    `HF_ENDPOINT` are respected, being huggingface_hub's own. Raises ConfigError.
    """
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import RepositoryNotFoundError, RevisionNotFoundError

    log.info("model %s: looking at the hub", repository)
    for client in ("httpx", "httpx2"):  # a line for each request; the progress bar says enough
        logging.getLogger(client).setLevel(logging.WARNING)
    try:
        folder = Path(
            snapshot_download(repository, revision=revision, ignore_patterns=OTHER_ENGINES)
        )
    except (RepositoryNotFoundError, RevisionNotFoundError):
        at = f" at revision {revision}" if revision else ""
        raise ConfigError(f"the hub has no public repository {repository}{at}") from None
    except (OSError, ValueError) as error:  # what its client raises when the hub does not answer
        log.debug("%s", error)
        raise ConfigError(
            f"the model {repository} is not in the cache and the hub cannot be reached. Either"
            f" download it where there is a network (hf download {repository}) and copy the folder"
            " that HF_HOME names, ~/.cache/huggingface by default; or name a model that is on this"
            ' machine: "starter", or a folder'
        ) from None
    if not is_model(folder):
        raise ConfigError(f"the repository {repository} holds no model in a layout that we read")
    return folder
