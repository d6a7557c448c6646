"""Making a key: its file keeps the hash alone."""

from pathlib import Path

import pytest

from common.errors import ConfigError
from common.keys import hash_of, read_keys
from front.keys import make_key


def test_a_key_is_made_once(tmp_path: Path) -> None:
    """Another of the same name is refused."""
    file = tmp_path / "keys.json"
    key = make_key(file, "phone", ("search",))

    assert [hash_of(key)] == [one.sha256 for one in read_keys(file)]
    with pytest.raises(ConfigError, match="a key phone already"):
        make_key(file, "phone", ("search",))


def test_a_folder_that_is_not_there_is_told(tmp_path: Path) -> None:
    """In one line, as other mistakes are."""
    with pytest.raises(ConfigError, match=r"no/keys\.json: No such file"):
        make_key(tmp_path / "no/keys.json", "phone", ("search",))
