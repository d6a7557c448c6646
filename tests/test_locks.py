"""The lock files: what is installed, beside the ranges that a person edits."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from devtools.services import CHECKOUT

LOCKED = {
    "requirements.lock": ["requirements.txt"],
    "requirements-dev.lock": ["requirements-dev.txt"],
    "requirements-torch.lock": ["requirements-torch.txt", "requirements-dev.txt"],
}
HASH = re.compile(r"--hash=sha256:[0-9a-f]{64}\b")


def ranges(path: Path) -> Iterator[Requirement]:
    """What a file asks for, and what the files ask for that it names."""
    for line in path.read_text().splitlines():
        if line.startswith("-r "):
            yield from ranges(path.parent / line[3:])
        elif line and not line.startswith("#"):
            yield Requirement(line)


def pins(lock: str) -> Iterator[tuple[Requirement, int]]:
    """What a lock installs, each with the number of its hashes."""
    lines = (CHECKOUT / lock).read_text().replace("\\\n", "").splitlines()
    for line in lines:
        if not line.lstrip().startswith("#"):
            yield Requirement(line.split(" --hash")[0]), len(HASH.findall(line))


def versions(lock: str) -> dict[str, set[str]]:
    """The versions of each package: more than one where its newest leaves out an older Python."""
    found: dict[str, set[str]] = {}
    for pin, _ in pins(lock):
        (only,) = pin.specifier
        assert only.operator == "==", pin
        found.setdefault(canonicalize_name(pin.name), set()).add(only.version)
    return found


@pytest.mark.parametrize("lock", LOCKED)
def test_every_range_is_met(lock: str) -> None:
    """Each line of requirements*.txt is pinned, at a version within its range: else `make lock`."""
    locked = versions(lock)
    for asked in (one for name in LOCKED[lock] for one in ranges(CHECKOUT / name)):
        name = canonicalize_name(asked.name)
        assert name in locked, f"{asked} is not in {lock}: make lock"
        for version in locked[name]:
            assert version in asked.specifier, f"{lock} has {name} {version}, not {asked}"


@pytest.mark.parametrize("lock", LOCKED)
def test_every_pin_has_a_hash_and_none_has_a_place(lock: str) -> None:
    """What is installed is known by its hashes, and no host, index or folder is named."""
    assert [str(pin) for pin, hashes in pins(lock) if not hashes] == []
    assert [str(pin) for pin, _ in pins(lock) if pin.url] == []
    text = (CHECKOUT / lock).read_text()
    assert not re.search(r"://|^\s*-|index-url|find-links|trusted-host", HASH.sub("", text), re.M)


def test_what_is_tested_is_what_serves() -> None:
    """A package has the same versions in all three environments."""
    tested = versions("requirements-dev.lock")
    for lock in LOCKED:
        for name, locked in versions(lock).items():
            assert locked == tested.get(name, locked), f"{lock} has {name} {locked}: make lock"
