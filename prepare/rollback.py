"""Put the previous index version in use again: python prepare/rollback.py."""

import sys
from pathlib import Path

if __package__ in (None, ""):  # run as a script: the checkout goes on the path, not this folder
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

from common.config import load
from common.errors import ConfigError
from common.process import argument_parser, run
from prepare.lock import locked
from prepare.versions import publisher_to
from search.manifest import (
    BadIndex,
    Current,
    Folders,
    Manifest,
    files_of,
    folders_of,
    manifest_of,
    read_current,
    verify_files,
    write_current,
)


def roll_back(folders: Folders, url: str | None = None) -> Manifest:
    """Check the previous version and put it in use; a second call undoes this.

    `url` is that of the object storage, if there is one. Raises ConfigError, MissingPackage.
    """
    with locked(folders.index):
        publisher = publisher_to(url, folders)
        try:
            current = read_current(folders)
        except BadIndex as error:
            raise ConfigError(f"{error}: run prepare, which writes it anew") from None
        if current is None or current.before is None:
            raise ConfigError(f"{folders.index} has no previous version to put in use")
        try:
            if publisher:
                manifest = publisher.find(current.before)
            else:
                manifest = manifest_of(folders, current.before)
                verify_files(files_of(folders, manifest))
        except BadIndex as error:
            raise ConfigError(f"the version before cannot be used: {error}") from None
        back = Current(manifest.named, current.now)
        if publisher:
            publisher.publish(back)
        write_current(folders, back)
    return manifest


def main() -> None:
    """Go back one version in the index folders that config.json names."""
    loaded = load(argument_parser(__doc__).parse_args().config)
    prepare = loaded.config.prepare
    folders = folders_of(loaded.root, prepare.index_dir, prepare.path_dir, prepare.hash_dir)
    manifest = roll_back(folders, prepare.index_url)
    print(f"version {manifest.version}: {manifest.count} images", flush=True)


if __name__ == "__main__":
    run(main)
