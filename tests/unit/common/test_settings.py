"""The sections of config.json: each key says what it is for, in plain sentences."""

import re
from typing import Any, get_args

import msgspec
import pytest

from common.config import Config
from common.errors import ConfigError
from common.settings import front, gateway, inference, inside, middle, prepare, process, search
from common.settings.section import Listed, Section

SECTIONS: tuple[type[Section], ...] = (
    front.Front,
    middle.Middle,
    inference.Inference,
    search.Search,
    gateway.Gateway,
    inside.Inside,
    prepare.Prepare,
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
