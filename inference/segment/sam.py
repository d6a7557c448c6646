"""A Segment Anything model (Kirillov et al., 2023, arXiv:2304.02643), loaded by name."""

import hashlib
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import NamedTuple

from common.config import Inference
from common.cores import usable_cores
from common.errors import BadRequest, ConfigError
from common.files import sha256_of_all
from common.images.decode import decode
from common.images.formats import FORMATS
from inference.clip.devices import Device, list_devices
from inference.clip.registry import shown_name
from inference.clip.session import SessionOptions, chosen_devices, files_of
from inference.messages import Point, Region, SegmentReply
from inference.runtimes import onnx_runtime
from inference.segment.masks import box_of, png_of
from inference.segment.sam_decoder import SamDecoder, open_decoder, segment
from inference.segment.sam_encoder import VERSION, SamEncoder
from inference.segment.sam_files import VIT_NAME, SamFiles, find_sam
from inference.segment.sam_layout import SIDE, Size
from inference.segment.sam_memory import check_memory

AT_LEAST = 2 * SIDE
"""A JPEG may be decoded smaller, to a shorter side of at least twice what an encoder sees."""


class Sam(NamedTuple):
    """A model. One thread at a time may call `encode`, any number `decode`."""

    name: str
    digest: str
    """The digest of both files and the preprocessing."""
    encoder: SamEncoder | None
    """None if the model was loaded without it."""
    decoder: SamDecoder

    def encode(
        self, data: bytes, max_pixels: int, formats: Collection[str] = FORMATS
    ) -> tuple[Size, bytes]:
        """The size of an upright image file and its packed features; raises as `decode` does."""
        if self.encoder is None:
            raise ConfigError(f"{self.name} was loaded without its encoder")
        image = decode(data, max_pixels, AT_LEAST, formats=formats)
        features = self.encoder.layout.pack(self.encoder.encode(image))
        return (image.height, image.width), features

    def decode(
        self, features: bytes, size: Size, points: Sequence[Point], box: Region | None
    ) -> SegmentReply:
        """The segment of a checked prompt; raises BadRequest, and as `segment` does."""
        try:
            values = self.decoder.layout.unpack(features)
        except ValueError:
            raise BadRequest("`features` are not those of an image") from None
        if min(size) < 1 or min(self.decoder.layout.resized(size)) < 1:
            raise BadRequest("`size` is not the height and width of an image")
        mask, score = segment(self.decoder, values, size, points, box)
        return SegmentReply(box_of(mask), score, png_of(mask))


def load_sam(name: str, settings: Inference, root: Path, *, encode: bool = True) -> Sam:
    """Load the model `name`, or without `encode` its decoder alone, and run what was loaded once.

    Raises ConfigError for a model that is missing, cannot run or needs more memory than there is.
    """
    files = find_sam(name, root, settings.precision)
    encoder = positions = None
    if encode or files.encoder.name.startswith(VIT_NAME):  # whose positions the decoder needs
        encoder = _open_encoder(files.encoder, settings)
        positions = encoder.positions
    decoder = open_decoder(files.decoder, SessionOptions(Device("cpu"), 1, "fp32"), positions)
    if encoder and encoder.layout != decoder.layout:
        raise ConfigError(f"{files.encoder} and {files.decoder} are not of the same kind of SAM")
    name = shown_name(name, files.folder)
    return Sam(name, digest_of(files), encoder if encode else None, decoder)


def _open_encoder(path: Path, settings: Inference) -> SamEncoder:
    device = _device(settings)
    if device.kind == "cpu":
        check_memory(path)
    # SAM's encoders need so much memory for a run that keeping it costs more than it saves.
    options = SessionOptions(device, encoder_threads(settings), "fp32", keep_memory=False)
    return SamEncoder(path, options)


def digest_of(files: SamFiles) -> str:
    """The digest of everything that determines a mask."""
    content = sha256_of_all(files_of(files.encoder)), sha256_of_all(files_of(files.decoder))
    return hashlib.sha256(f"sam {VERSION} {' '.join(content)}".encode()).hexdigest()


def encoder_threads(settings: Inference) -> int:
    """The threads of an encoder: by default half the cores, as searches go on meanwhile."""
    return settings.threads or max(1, usable_cores() // 2)


def _device(settings: Inference) -> Device:
    """The first device, if it is one that ONNX Runtime runs on, else the CPU."""
    first = list_devices(chosen_devices(settings))[0]
    return first if first.kind == "cuda" and onnx_runtime.HAS_CUDA else Device("cpu")
