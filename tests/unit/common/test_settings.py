"""The sections of config.json: each key says what it is for, in plain sentences."""

import re
from typing import Any, get_args

import msgspec
import pytest

from common.config import Config, parse
from common.errors import ConfigError
from common.settings import (
    front,
    gateway,
    inference,
    inside,
    live,
    middle,
    prepare,
    process,
    search,
)
from common.settings.inference import Inference, Role
from common.settings.section import Listed, Section

SECTIONS: tuple[type[Section], ...] = (
    front.Front,
    middle.Middle,
    inference.Inference,
    search.Search,
    gateway.Gateway,
    inside.Inside,
    prepare.Prepare,
    live.Live,
    process.Process,
)
MAX_WORDS = 25


def keys(section: type[Section]) -> dict[str, Any]:
    """The schema of each key of a section."""
    schema = msgspec.json.schema(section)
    found: dict[str, Any] = schema["$defs"][section.__name__]["properties"]
    return found


def test_these_are_the_sections_of_a_configuration() -> None:
    """None is missing here."""
    assert list(SECTIONS) == [
        next(iter(get_args(field.type)), field.type) for field in msgspec.structs.fields(Config)
    ]


@pytest.mark.parametrize("section", SECTIONS)
def test_each_key_is_described_in_plain_sentences(section: type[Section]) -> None:
    """None is without a description, and no sentence is long."""
    for key, schema in keys(section).items():
        text = schema.get("description", "")
        assert text.endswith("."), key
        for sentence in re.split(r"[.:;]\s", text):
            assert len(sentence.split()) <= MAX_WORDS, (key, sentence)


def test_a_server_of_a_list_has_the_address_of_its_entry() -> None:
    """Without an index it is the section's own; an index that is none is refused."""
    listed = Listed(address="a", port=1, server_list=("b:2", "c:3"))

    assert ("b:2", "c:3") == listed.addresses
    assert ("c", 3) == (listed.at(1).address, listed.at(1).port)
    assert listed.at(None) is listed
    assert ("a:1",) == Listed(address="a", port=1).addresses
    with pytest.raises(ConfigError, match="no entry 2"):
        listed.at(2)


SEARCH = {"server-list": ["127.0.0.1:9000"]}


def read(**keys: Any) -> Inference:
    """The section Inference of a configuration with these keys."""
    text = msgspec.json.encode({"Inference": keys, "Search": SEARCH})
    return parse(text).inference


def test_the_keys_of_a_role_override_those_of_the_section() -> None:
    """A key that the role lacks is the section's; a zero or the section's own default counts."""
    own = {"device": ["cuda:1", "cpu"], "replicas": 0, "precision": "fp32", "threads": None}
    found = read(device="RR", replicas=3, precision="fp16", threads=2, roles={"mclip": own})
    clip, mclip = found.of("clip"), found.of("mclip")

    assert ("RR", 3, "fp16", 2) == (clip.device, clip.replicas, clip.precision, clip.threads)
    assert (("cuda:1", "cpu"), 0, "fp32", 2) == (
        mclip.device,
        mclip.replicas,
        mclip.precision,
        mclip.threads,
    )
    assert mclip == mclip.of("mclip") == mclip.of("clip")
    assert read(port=1).of("clip") == read(port=1)


def test_a_role_has_keys_of_the_section_without_their_defaults() -> None:
    """Each is there by the same name and for the same type, or null."""
    section = {field.name: field.type for field in msgspec.structs.fields(Inference)}

    for field in msgspec.structs.fields(Role):
        assert field.type == section[field.name] | None
        assert field.default is None


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"roles": {"sam2": {}}}, r"unknown field `sam2` - at `\$.Inference.roles`"),
        ({"roles": {"clip": {"port": 1}}}, r"unknown field `port` - at `\$.Inference.roles.clip`"),
        ({"roles": {"mclip": {"replicas": -1}}}, r">= 0 - at `\$.Inference.roles.mclip.replicas`"),
        ({"roles": {"mclip": {"runtime": "tf"}}}, r"'tf' - at `\$.Inference.roles.mclip.runtime`"),
        ({"roles": {"clip": {"device": []}}}, r"list is empty - at `\$.Inference.roles.clip`"),
        ({"device": []}, r"device: the list is empty - at `\$.Inference`"),
        ({"roles": {"clip": {"device": ["cpu", "tpu"]}}}, r"'tpu' .* `\$.Inference.roles.clip`"),
        *[
            ({"device": name}, r"device: .* is not auto, cpu, gpu, cuda, cuda:0,1, RR or RR0:2")
            for name in ("", "CPU", "cuda:", "cuda:x", "cuda:0,", "RR:2", "RR2:", "tpu")
        ],
    ],
)
def test_what_is_no_role_or_no_device_is_refused(given: dict[str, Any], message: str) -> None:
    """By the place of the key, and with the names that a device may have."""
    with pytest.raises(ConfigError, match=message):
        read(**given)
