"""Pack the models of config.json for TorchServe: python inference/archive.py [--config FILE]."""

import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

if __package__ in (None, ""):  # run as a script: the checkout goes on the path, not this folder
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

from common.config import CHECKOUT, Inference, load
from common.errors import ConfigError, MissingPackage
from common.process import argument_parser, run
from inference.clip.model_files import CLIP_TOKENIZER, MODELS
from inference.clip.model import check_images, check_space, load_model
from inference.clip.registry import find_model, folder_name, mclip_of, shown_name
from inference.clip.session import files_of
from inference.segment.sam import load_sam
from inference.segment.sam_files import SamFiles, find_sam
from inference.torchserve.archive_settings import Contents, write_contents

HANDLER = CHECKOUT / "inference/torchserve/handler.py"
SAM_ROLES = ("sam_encode", "sam_decode")
LEFT_OUT = ("common/server/*", "inference/app.py", "inference/inference.py")
"""Our own server, which TorchServe replaces. Its packages need not be installed for TorchServe."""


def archive(role: str, copy: Callable[[Path], object], contents: Contents, store: Path) -> Path:
    """Pack a model and our code into `store`/`role`.mar; returns the path.

    `copy` writes the model into a new folder.
    """
    with tempfile.TemporaryDirectory(prefix=".archive-", dir=store) as name:
        stage = Path(name, "stage")
        for file in packed():
            target = stage / file.relative_to(CHECKOUT)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(file, target)
        models = stage / MODELS.relative_to(CHECKOUT)
        copy(models / folder_name(contents.model))
        shutil.copy2(CLIP_TOKENIZER, models)
        write_contents(stage, contents)
        _run_archiver(role, stage, Path(name))
        return Path(name, f"{role}.mar").replace(store / f"{role}.mar")


def packed() -> Iterator[Path]:
    """The files of our code that an archive holds."""
    for package in ("common", "inference"):
        for file in (CHECKOUT / package).rglob("*.py"):
            is_left_out = any(file.relative_to(CHECKOUT).match(pattern) for pattern in LEFT_OUT)
            if not is_left_out and MODELS not in file.parents:
                yield file


def _run_archiver(role: str, stage: Path, target: Path) -> None:
    try:
        from model_archiver.model_archiver_config import ModelArchiverConfig
        from model_archiver.model_packaging import generate_model_archive
    except ImportError:
        raise ConfigError("pip install -r requirements-torch.txt, and run this again") from None
    # The archiver empties the folder tempdir/MODEL_NAME and works there: tempdir must be ours.
    before, tempfile.tempdir = tempfile.tempdir, str(target)
    try:
        generate_model_archive(
            ModelArchiverConfig(
                model_name=role,
                handler=str(HANDLER),
                extra_files=str(stage),
                export_path=str(target),
                version="1.0",
            )
        )
    finally:
        tempfile.tempdir = before


def archive_all(config: Inference, root: Path, store: Path) -> None:
    """Archive clip, mclip if there is a multilingual model, and Segment Anything if it is named.

    Other old archives of these roles are removed, because they may hold another model.
    """
    multilingual = mclip_of(config.clip, config.mclip)
    clip = load_model(config.clip, config.of("clip"), root, text=False)
    check_images(clip)
    print(_pack("clip", config.clip, clip.space, config, root, store))
    for role in ("mclip", *SAM_ROLES):
        (store / f"{role}.mar").unlink(missing_ok=True)
    if config.sam:
        _archive_sam(config.sam, config.of("sam"), root, store)
    if not multilingual:
        print("no mclip.mar: config.json names no Inference.mclip")
        return
    try:
        mclip = load_model(multilingual, config.of("mclip"), root, image=False)
    except MissingPackage as error:
        print(f"no mclip.mar: {error}")
        return
    check_space(mclip, clip)
    print(_pack("mclip", multilingual, clip.space, config, root, store))


def _pack(role: str, name: str, space: str, config: Inference, root: Path, store: Path) -> str:
    folder = find_model(name, root)
    shown = shown_name(name, folder)
    copy = partial(shutil.copytree, folder)
    return _told(archive(role, copy, Contents(role, shown, space, config.of(role)), store), shown)


def _archive_sam(name: str, config: Inference, root: Path, store: Path) -> None:
    sam, files = load_sam(name, config, root), find_sam(name, root, config.precision)
    for role in SAM_ROLES:
        contents = Contents(role, sam.name, "", config)
        print(_told(archive(role, partial(_copy_sam, files), contents, store), sam.name))


def _copy_sam(files: SamFiles, target: Path) -> None:
    """Copy the two networks of a model: the digest of the model is that of both."""
    for file in (*files_of(files.encoder), *files_of(files.decoder)):
        copied = target / file.relative_to(files.folder)
        copied.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(file, copied)


def _told(path: Path, name: str) -> str:
    return f"{path}: {name}, {path.stat().st_size / 1e6:.1f} MB"


def main() -> None:
    """Archive the models of a configuration."""
    parser = argument_parser(__doc__)
    parser.add_argument("--model-store", metavar="FOLDER", type=Path, default=MODELS)
    arguments = parser.parse_args()
    loaded = load(arguments.config)
    store = arguments.model_store.resolve()
    store.mkdir(parents=True, exist_ok=True)
    archive_all(loaded.config.inference, loaded.root, store)


if __name__ == "__main__":
    run(main)
