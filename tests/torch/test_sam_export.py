"""Segment Anything exported from torch, with random weights: MobileSAM, and two layers of ViT-B."""

import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pytest
import torch
from segment_anything import sam_model_registry

from common.config import CHECKOUT
from common.errors import ConfigError
from common.wire import decode, encode
from devtools.random_sam import write_checkpoint
from devtools.services import Service, running
from devtools.tiny_model import write_tiny_model
from inference.export import export_sam
from inference.exporting.sam_export import check_sam
from inference.messages import SamDecodeRequest, SamEncodeReply, SamEncodeRequest, SegmentReply
from inference.segment.sam_layout import SAM
from tests.torch.torchserve import TorchServe, torchserve

OWL = (CHECKOUT / "samples/owl.jpg").read_bytes()
ENCODE_S = 300
"""The time for a request, on cores that others use."""
Reply = TypeVar("Reply")


@pytest.fixture(scope="module")
def short_vit_b() -> Iterator[None]:
    """Of ViT-B's twelve layers two, the one with windows and the other without: a sixth of it."""
    whole = sam_model_registry["vit_b"]

    def short() -> torch.nn.Module:
        built = whole()
        built.image_encoder.blocks = built.image_encoder.blocks[1:3]
        return built

    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sam_model_registry, "vit_b", short)
        yield


@pytest.fixture(scope="module", params=["vit_t", "vit_b"])
def model(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, short_vit_b: None
) -> Path:
    """A folder with a checkpoint, its export, and what exporting printed."""
    folder = tmp_path_factory.mktemp(request.param)
    write_checkpoint(request.param, folder / "sam.pth")
    with (folder / "told").open("w") as told, redirect_stdout(told):
        export_sam(folder / "sam.pth", folder / "exported")
    return folder


def test_an_export_gives_what_torch_gives(
    model: Path, record_property: Callable[[str, object], None]
) -> None:
    """Features and masks, of a model built anew: exporting changes MobileSAM's in memory."""
    told = (model / "told").read_text()
    found = re.search(r"torch ([\d.]+), worst overlap of masks ([\d.]+)", told)
    assert found

    assert float(found[1]) >= 0.9999
    assert float(found[2]) >= 0.99
    record_property(f"{model.name} features", float(found[1]))
    record_property(f"{model.name} masks, overlap", float(found[2]))


def ask(service: Service, role: str, message: object, kind: type[Reply]) -> Reply:
    """The reply of a role; ViT-B takes its time for an image."""
    headers = service.key("inference") if isinstance(service, TorchServe) else {}
    path, body = f"/predictions/{role}", encode(message)
    reply = service.request("POST", path, body=body, headers=headers, timeout=ENCODE_S)
    assert reply.status == 200, reply.data
    return decode(reply.data, kind)


def segments(service: Service) -> tuple[SamEncodeReply, list[SegmentReply]]:
    """The features of a photo, and what is under a click and in a box."""
    image = SamEncodeRequest(OWL, deadline_ms=1000 * ENCODE_S)
    encoded = ask(service, "sam_encode", image, SamEncodeReply)
    given = {name: getattr(encoded, name) for name in ("features", "size", "digest")}
    prompts: list[dict[str, Any]] = [{"points": [(0.5, 0.5, 1)]}, {"box": (0.2, 0.2, 0.8, 0.8)}]
    asked = [SamDecodeRequest(**given, **prompt) for prompt in prompts]
    return encoded, [ask(service, "sam_decode", one, SegmentReply) for one in asked]


def test_both_servers_give_the_segments_of_an_export(model: Path) -> None:
    """The embedded one and TorchServe, one after the other: the same features and masks."""
    write_tiny_model(model / "tiny")
    config = {"Inference": {"port": 0, "clip": "tiny", "mclip": None, "sam": "exported"}}
    with running("inference/inference.py", config, cwd=model) as embedded:
        encoded, found = segments(embedded)
    with torchserve(model, config) as server:
        assert segments(server) == (encoded, found)

    assert np.isfinite(SAM.unpack(encoded.features)).all()
    assert all(one.mask.startswith(b"\x89PNG") for one in found)


def test_weights_of_another_model_are_told_apart(tmp_path: Path, model: Path) -> None:
    """The check that refuses a bad export."""
    if not model.name.startswith("vit_t"):
        pytest.skip("once is enough")
    write_checkpoint("vit_t", tmp_path / "other.pth", seed=1)
    with pytest.raises(ConfigError, match=r"below 0\.9999"):
        check_sam(tmp_path / "other.pth", model / "exported")


def test_a_file_that_is_no_checkpoint_is_refused(tmp_path: Path) -> None:
    """And leaves no folder."""
    (tmp_path / "text.pth").write_text("no weights")
    torch.save({"weight": torch.zeros(1)}, tmp_path / "other.pth")
    for name in ("text", "other", "none"):
        with pytest.raises(ConfigError, match="no checkpoint"):
            export_sam(tmp_path / f"{name}.pth", tmp_path / "exported")

    assert not (tmp_path / "exported").exists()


def test_other_precisions_are_refused(tmp_path: Path) -> None:
    """Before anything is read."""
    done = subprocess.run(
        [sys.executable, "inference/export.py", "sam.pth", "--precision", "fp16"],
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 2
    assert "fp32 alone" in done.stderr
