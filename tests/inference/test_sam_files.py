"""Segment Anything models by name: in a folder, and on a stand-in for the hub."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from common.errors import ConfigError
from devtools.services import CHECKOUT
from devtools.tiny_sam import write_meta_sam, write_transformers_sam
from inference.segment.sam_files import find_sam
from tests.hub import REVISION, serving_hub

PRINT_ENCODER = """
import sys
from pathlib import Path
from common.process import run
from inference.segment.sam_files import find_sam
run(lambda: print(find_sam(sys.argv[1], Path(), sys.argv[2]).encoder))
"""


def find(name: str, precision: str, home: Path, hub: str) -> subprocess.CompletedProcess[str]:
    """Find a model in a process of its own: the hub's client reads its settings once."""
    return subprocess.run(
        [sys.executable, "-c", PRINT_ENCODER, name, precision],
        cwd=CHECKOUT,
        env={**os.environ, "HF_HOME": str(home), "HF_ENDPOINT": hub},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize(
    "decoder", ["decoder", "sam_mask_decoder_multi", "sam_mask_decoder_single"]
)
def test_a_folder_is_read_by_the_names_of_its_files(tmp_path: Path, decoder: str) -> None:
    """Those of samexporter, and those of MobileSAM by Acly."""
    write_meta_sam(tmp_path / "mine")
    encoder = "encoder" if decoder == "decoder" else "mobile_sam_image_encoder"
    for old, new in (("encoder", encoder), ("decoder", decoder)):
        (tmp_path / f"mine/{old}.onnx").rename(tmp_path / f"mine/{new}.onnx")
    found = find_sam("mine", tmp_path, "fp32")

    assert (found.encoder.stem, found.decoder.stem) == (encoder, decoder)


def test_the_precision_chooses_among_the_files_of_transformers_js(tmp_path: Path) -> None:
    """A folder that has one pair alone gives that."""
    quantized = write_transformers_sam(tmp_path / "one", "_quantized") / "onnx"
    assert find_sam("one", tmp_path, "fp32").encoder == quantized / "vision_encoder_quantized.onnx"
    write_transformers_sam(tmp_path / "one")
    assert find_sam("one", tmp_path, "fp32").encoder == quantized / "vision_encoder.onnx"
    assert find_sam("one", tmp_path, "int8").encoder == quantized / "vision_encoder_quantized.onnx"


@pytest.mark.parametrize("name", ["empty", "no such thing", "/no/such/folder"])
def test_a_folder_without_a_model_is_refused(tmp_path: Path, name: str) -> None:
    """Without asking the hub; the message says which files it looked for."""
    (tmp_path / "empty").mkdir()
    with pytest.raises(ConfigError, match=r"Inference\.sam.*encoder\.onnx and decoder\.onnx"):
        find_sam(name, tmp_path, "fp32")


@pytest.mark.parametrize(("precision", "end"), [("fp32", ""), ("int8", "_quantized")])
def test_a_repository_is_downloaded_as_far_as_it_is_needed(
    tmp_path: Path, precision: str, end: str
) -> None:
    """Of one precision; its revision may be pinned."""
    folder = write_transformers_sam(tmp_path / "repository")
    write_transformers_sam(folder, "_quantized")
    write_transformers_sam(folder, "_fp16")
    (folder / "model.safetensors").write_bytes(b"not for us")
    with serving_hub("owner/slimsam", folder) as hub:
        done = find(f"owner/slimsam@{REVISION}", precision, tmp_path / "home", hub.address)

    assert done.returncode == 0, done.stderr
    assert done.stdout.strip().endswith(f"{REVISION}/onnx/vision_encoder{end}.onnx")
    names = {f"onnx/{part}{end}.onnx" for part in ("vision_encoder", "prompt_encoder_mask_decoder")}
    assert set(hub.files) == names


def test_a_repository_without_a_model_is_refused(tmp_path: Path) -> None:
    """Exit status 2, and no traceback."""
    (tmp_path / "repository").mkdir()
    (tmp_path / "repository/model.safetensors").write_bytes(b"not for us")
    with serving_hub("owner/other", tmp_path / "repository") as hub:
        done = find("owner/other", "fp32", tmp_path / "home", hub.address)

    assert done.returncode == 2
    assert "owner/other holds no Segment Anything model" in done.stderr
    assert hub.files == []
