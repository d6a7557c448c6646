"""Convert a model of open_clip or M-CLIP into a folder that every runtime serves.

python inference/export.py NAME [--precision fp16] [--precision int8] [--torch]

NAME is open_clip's (ViT-B-32::laion2b_s34b_b79k), OpenAI's (ViT-L/14@336px), M-CLIP's
(M-CLIP/LABSE-Vit-L-14), or a folder that open_clip or M-CLIP saved. A file of weights (.pth, .pt)
is one of Segment Anything or MobileSAM. This command needs requirements-torch.txt. It keeps the
folder only if the embeddings match those of torch.
"""

import argparse
import logging
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

if __package__ in (None, ""):  # run as a script: the checkout goes on the path, not this folder
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

from common.errors import ConfigError, MissingPackage, first_line
from common.process import run
from inference.clip.model_files import MODELS
from inference.clip.registry import folder_name


def main() -> None:
    """Export the model that the command line names."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("name", metavar="NAME")
    parser.add_argument("--output", type=Path, help="the folder (default: in inference/models)")
    parser.add_argument(
        "--precision",
        choices=("fp16", "int8"),
        action="append",
        default=[],
        help="also write the model in this precision",
    )
    parser.add_argument("--torch", action="store_true", help="keep the weights for torch, too")
    arguments = parser.parse_args()
    path = Path(arguments.name)
    is_sam = path.suffix in (".pth", ".pt")
    is_folder = path.is_dir()
    short = path.stem if is_sam else path.resolve().name if is_folder else arguments.name
    output: Path = arguments.output or MODELS / folder_name(short)
    if is_sam and (arguments.precision or arguments.torch):
        parser.error("Segment Anything is exported in fp32 alone, without --precision and --torch")
    if is_sam:
        export_sam(path, output)
    else:
        export(arguments.name, output, arguments.precision, arguments.torch)
    where = output if arguments.output or is_folder else short
    role = "sam" if is_sam else "clip" if (output / "visual").is_dir() else "mclip"
    print(f'done: {output}\nin config.json, Inference: "{role}": "{where}"')


def export(name: str, output: Path, precisions: list[str], keep_torch: bool) -> None:
    """Write the model `name` to the folder `output`, and compare it with torch.

    Raises ConfigError; a failed export leaves no folder.
    """
    with _torch_packages():
        from inference.exporting.export_checks import check, may_draft
        from inference.exporting.onnx_export import forbid_draft, write_model
        from inference.exporting.torch_models import load_original
    _begin(name, output)
    try:
        original = load_original(name, Path())
    except Exception as error:  # those of open_clip and of the hub have no class in common
        raise ConfigError(f"{name}: {first_line(error)}") from None
    with _whole(output) as draft:
        write_model(original, draft, precisions, keep_torch)
        for precision in ("fp32", *precisions):
            print(check(original, draft, precision), flush=True)
        if not may_draft(draft):
            forbid_draft(draft)


def export_sam(checkpoint: Path, output: Path) -> None:
    """Write the model of a file of weights to the folder `output`, and compare it with torch.

    Raises ConfigError; a failed export leaves no folder.
    """
    with _torch_packages():
        from inference.exporting.sam_export import check_sam, write_sam
    _begin(str(checkpoint), output)
    with _whole(output) as draft:
        write_sam(checkpoint, draft)
        print(check_sam(checkpoint, draft), flush=True)


def _begin(name: str, output: Path) -> None:
    if output.exists():
        raise ConfigError(f"{output} is there already: remove it, or name another --output")
    # torch logs lines for every node of the graph, which would hide the messages to the user.
    logging.getLogger().setLevel(logging.ERROR)
    print(f"loading {name}", flush=True)


@contextmanager
def _torch_packages() -> Iterator[None]:
    """Imports of what serving does not need; raises MissingPackage that says how to get it."""
    try:
        yield
    except ImportError as error:
        raise MissingPackage(
            f"there is no {error.name}: pip install -r requirements-torch.txt"
        ) from None


@contextmanager
def _whole(output: Path) -> Iterator[Path]:
    """A folder for a model, which becomes `output` if the block ends well; raises ConfigError."""
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        whole = Path(tempfile.mkdtemp(prefix=".export-", dir=output.parent))
    except OSError as error:
        raise ConfigError(f"{output}: {error.strerror}") from None
    try:
        yield whole / output.name
        (whole / output.name).rename(output)
    finally:
        shutil.rmtree(whole, ignore_errors=True)


if __name__ == "__main__":
    run(main)
