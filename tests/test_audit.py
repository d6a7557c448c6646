"""The audit of what requirements.txt installs, with the two programs that it asks stood in for."""

import subprocess
from pathlib import Path

import pytest

from tests.services import CHECKOUT

PINNED = 'for last; do :; done; printf "numpy==1\\nurllib3==1\\n" > "$last"'
NONE = 'echo "No known vulnerabilities found" >&2'
UNKNOWN = f'{NONE}; echo "numpy Dependency not found on PyPI and could not be audited"'
FOUND = 'echo "Found 1 known vulnerability in 1 package" >&2; echo "urllib3 1.0 CVE-1"; exit 1'
OFFLINE = 'echo "ConnectionError: no route to host" >&2; exit 1'


@pytest.mark.parametrize(
    ("uv", "audit", "status", "said"),
    [
        (PINNED, NONE, 0, "No known vulnerabilities"),
        (PINNED, UNKNOWN, 0, "SKIPPED 1 of 2 packages"),
        (PINNED, f"{UNKNOWN}; {UNKNOWN}", 0, "SKIPPED, nothing was audited"),
        (PINNED, FOUND, 1, "CVE-1"),
        (PINNED, OFFLINE, 0, "SKIPPED, nothing was audited"),
        (OFFLINE, FOUND, 0, "SKIPPED, nothing was audited"),
    ],
)
def test_only_a_known_hole_fails(
    tmp_path: Path, uv: str, audit: str, status: int, said: str
) -> None:
    """Nothing found is good; where nobody can be asked it is said that nothing was audited."""
    for name, script in (("uv", uv), ("pip-audit", audit)):
        program = tmp_path / name
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(0o700)
    done = subprocess.run(
        [CHECKOUT / ".ci/audit", tmp_path], capture_output=True, text=True, check=False
    )

    assert status == done.returncode, done.stderr
    assert said in done.stdout + done.stderr
