"""The JSON of segment-anything-services, as TorchServe answers it here."""

import base64
import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from numpy.typing import NDArray

from common.config import Inference
from common.errors import NotImplementedHere, ServiceError, TooLarge
from common.wire import encode
from devtools.tiny_sam import (
    BOX_SCORE,
    CLICK_SCORE,
    SHAPE,
    picture,
    write_meta_sam,
    write_sam2,
    write_transformers_sam,
)
from inference.messages import SamDecodeRequest, SamEncodeRequest
from inference.segment.sam import Sam, load_sam
from inference.segment.served_sam import ServedSam
from inference.torchserve import sam_json
from inference.torchserve.sam_json import (
    DecodedJson,
    EncodedJson,
    decode_prompt,
    encode_image,
    takes,
)

FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF")
SIZE = (512, 1024)
"""Height and width of the picture."""
INSIDE = [300, 300]
"""A pixel of its shape."""
X0, Y0, X1, Y1 = (int(part * SIZE[1 - place % 2]) for place, part in enumerate(SHAPE))


@pytest.fixture(scope="module")
def sam(tmp_path_factory: pytest.TempPathFactory) -> Sam:
    """The tiny model."""
    return load_sam(str(write_meta_sam(tmp_path_factory.mktemp("sam"))), Inference(), Path())


@pytest.fixture(scope="module")
def served(sam: Sam) -> Iterator[ServedSam]:
    """The model with its queues."""
    served = ServedSam(sam, Inference())
    served.start()
    yield served
    served.close()


def sent(reply: EncodedJson | DecodedJson) -> Any:
    """A reply as its client reads it."""
    return json.loads(msgspec.json.encode(reply))


def in_json(**fields: Any) -> bytes:
    return json.dumps(fields).encode()


def encoded(data: bytes) -> str:
    return base64.b64encode(data).decode()


@pytest.fixture(scope="module")
def features(served: ServedSam) -> str:
    """The features of the picture, as the JSON has them."""
    reply = encode_image(served, in_json(encoded_image=encoded(picture())))
    return str(sent(reply)["image_embedding"])


def prompt(features: str, **fields: Any) -> bytes:
    click = {"input_prompt": INSIDE, "input_label": 1, "decode_type": "single_point"}
    return in_json(**{"image_embeddings": features, "image_shape": SIZE, **click, **fields})


def masks_in(reply: Any) -> NDArray[np.bool_]:
    """The masks of a reply as its client reads them: a byte a pixel."""
    data = np.frombuffer(base64.b64decode(reply["masks"]), np.bool_)
    return data.reshape(len(reply["confidence_scores"]), *SIZE)


def test_an_image_is_encoded_as_the_original_does(served: ServedSam, features: str) -> None:
    """In JSON, and as the body itself; on our own wire it is rounded to float16."""
    values = np.frombuffer(base64.b64decode(features), "<f4")
    assert values.shape == (256 * 64 * 64,)
    for image in (picture(), picture("BMP")):
        reply = sent(encode_image(served, image))
        assert set(reply) == {"status", "image_embedding"}
        assert reply["status"] == "success"
        found = np.frombuffer(base64.b64decode(reply["image_embedding"]), "<f4")
        np.testing.assert_array_equal(found, values)
    own = served.encode(SamEncodeRequest(picture()))
    assert own.features == values.astype("<f2").tobytes()


def test_our_own_messages_are_told_apart(features: str) -> None:
    """By their first byte: no image file and no JSON begins as a map of msgpack does."""
    own = [
        SamEncodeRequest(picture()),
        SamEncodeRequest(describe=True),
        SamDecodeRequest(features=b"", size=SIZE, digest="", box=SHAPE),
    ]
    assert not any(takes(encode(message)) for message in own)
    for body in (in_json(encoded_image=""), prompt(features), *map(picture, FORMATS)):
        assert takes(body)


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"input_prompt": [INSIDE], "input_label": [1]},
        {"input_prompt": [INSIDE, [310, 310]], "input_label": [1, 1], "decode_type": "multi_point"},
        {"input_prompt": [X0, Y0, X1, Y1], "decode_type": "bbox"},
        {"input_prompt": [[X0, Y0], [X1, Y1]], "decode_type": "bbox", "input_label": [1, 1]},
    ],
)
def test_a_prompt_gets_all_masks_and_their_scores(
    sam: Sam, features: str, fields: dict[str, Any]
) -> None:
    """A click, two clicks, a box: masks in the image's own size, cut where the model says."""
    reply = sent(decode_prompt(sam.decoder, prompt(features, **fields)))

    assert set(reply) == {"status", "masks", "confidence_scores"}
    np.testing.assert_allclose(reply["confidence_scores"], [BOX_SCORE, 0.3, CLICK_SCORE, 0.4])
    masks = masks_in(reply)
    (rows,), (columns,) = masks[0].any(axis=1).nonzero(), masks[0].any(axis=0).nonzero()
    assert (columns[0], rows[0], columns[-1] + 1, rows[-1] + 1) == (X0, Y0, X1, Y1)
    np.testing.assert_array_equal(masks[0], masks[2])
    assert not (masks[0] & masks[1]).any()


def test_masks_are_as_large_as_the_image_that_is_told(sam: Sam, features: str) -> None:
    """Up to 2048 x 2048: the features do not say how large it was."""
    large = {"image_shape": (1024, 2048), "input_prompt": [600, 600]}
    reply = sent(decode_prompt(sam.decoder, prompt(features, **large)))
    data = np.frombuffer(base64.b64decode(reply["masks"]), np.bool_)

    assert data.reshape(4, 1024, 2048)[0].sum() == pytest.approx(
        4 * (X1 - X0) * (Y1 - Y0), rel=0.01
    )


WRONG: dict[str, tuple[dict[str, Any], int, str]] = {
    "no features": ({"image_embeddings": ""}, 400, "`image_embeddings`"),
    "other features": ({"image_embeddings": encoded(bytes(1024))}, 400, "`image_embeddings`"),
    "features of NaN": ({"image_embeddings": encoded(b"\xff" * 2**22)}, 400, "not finite"),
    "no base64": ({"image_embeddings": "?"}, 400, "`image_embeddings` is not base64"),
    "no shape": ({"image_shape": [512]}, 400, "image_shape"),
    "flat": ({"image_shape": [0, 512]}, 400, "`image_shape`"),
    "large": ({"image_shape": [2048, 2049]}, 413, "`image_shape`"),
    "larger than a float": ({"image_shape": [10**400, 1]}, 413, "`image_shape`"),
    "outside": ({"input_prompt": [1025, 10]}, 400, "`input_prompt[0]`"),
    "left of it": ({"input_prompt": [[10, 10], [-1, 10]]}, 400, "`input_prompt[1]`"),
    "half a point": ({"input_prompt": [10]}, 400, "`input_prompt[0]`"),
    "no point": ({"input_prompt": []}, 400, "`input_prompt`"),
    "a mixture": ({"input_prompt": [1, [2, 3]]}, 400, "`input_prompt[0]`"),
    "two points": ({"input_prompt": [[1, 1], [2, 2]]}, 400, "`input_prompt`"),
    "1,001 points": ({"input_prompt": [INSIDE] * 1001}, 400, "`input_prompt` has 1001"),
    "labels": ({"input_label": [1, 1]}, 400, "`input_label`"),
    "label": ({"input_label": 2}, 400, "`input_label`"),
    "turned round": ({"input_prompt": [9, 9, 5, 5], "decode_type": "bbox"}, 400, "`input_prompt`"),
    "no area": ({"input_prompt": [9, 9, 9, 20], "decode_type": "bbox"}, 400, "`input_prompt`"),
    "three corners": ({"input_prompt": [1, 2, 3], "decode_type": "bbox"}, 400, "`input_prompt[1]`"),
    "another type": ({"decode_type": "lasso"}, 400, "decode_type"),
    "GeoJSON": ({"crs": "EPSG:32610", "bbox": [0, 0, 1, 1]}, 501, "`crs`"),
}


@pytest.mark.parametrize(("fields", "status", "told"), WRONG.values(), ids=WRONG)
def test_a_wrong_prompt_names_its_field(
    sam: Sam, features: str, fields: dict[str, Any], status: int, told: str
) -> None:
    """400, mostly."""
    with pytest.raises(ServiceError) as refused:
        decode_prompt(sam.decoder, prompt(features, **fields))

    assert refused.value.status == status
    assert told in refused.value.detail


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"{}", 400),
        (b"{", 400),
        (in_json(encoded_image=encoded(b"no image")), 415),
        (picture()[:2000], 422),
    ],
)
def test_a_wrong_image_has_its_own_error(served: ServedSam, body: bytes, status: int) -> None:
    """As an image on our own wire has."""
    with pytest.raises(ServiceError) as refused:
        encode_image(served, body)

    assert refused.value.status == status


def test_a_large_image_is_refused_when_it_is_encoded(
    served: ServedSam, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not only later, for the size of its masks."""
    monkeypatch.setattr(sam_json, "MAX_PIXELS", math.prod(SIZE) - 1)
    with pytest.raises(TooLarge):
        encode_image(served, picture())


def test_a_model_without_boxes_says_so(tmp_path: Path, features: str) -> None:
    """The layout of transformers.js, whose decoder gives three masks."""
    sam = load_sam(str(write_transformers_sam(tmp_path)), Inference(), Path())
    box = {"input_prompt": [X0, Y0, X1, Y1], "decode_type": "bbox"}
    with pytest.raises(NotImplementedHere) as refused:
        decode_prompt(sam.decoder, prompt(features, **box))

    assert refused.value.code == "no_box_prompt"
    assert len(masks_in(sent(decode_prompt(sam.decoder, prompt(features))))) == 3


def test_sam_2_has_no_json(tmp_path: Path, features: str) -> None:
    """Its features are more than there is a place for: 501, and not after an encoding."""
    sam = load_sam(str(write_sam2(tmp_path)), Inference(), Path())
    for ask in (
        lambda: encode_image(ServedSam(sam, Inference()), picture()),
        lambda: decode_prompt(sam.decoder, prompt(features)),
    ):
        with pytest.raises(NotImplementedHere, match="SAM 2"):
            ask()
