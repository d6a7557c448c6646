"""The audit of what requirements.lock installs, with the program that it asks stood in for."""

import subprocess
from pathlib import Path

import pytest

from devtools.services import CHECKOUT

NONE = 'echo "No known vulnerabilities found" >&2'
KNOWN = '{"name": "urllib3", "version": "1", "vulns": []}'
UNKNOWN = '{"name": "numpy", "skip_reason": "numpy could not be audited"}'
FOUND = 'echo "Found 1 known vulnerability in 1 package" >&2; echo \'{"vulns": ["CVE-1"]}\'; exit 1'
OFFLINE = 'echo "ConnectionError: no route to host" >&2; exit 1'


@pytest.mark.parametrize(
    ("audit", "status", "said"),
    [
        (f"{NONE}; echo '{KNOWN}'", 0, "No known vulnerabilities"),
        (f"{NONE}; echo '{KNOWN}, {UNKNOWN}'", 0, "SKIPPED 1 of 2 packages"),
        (f"{NONE}; echo '{UNKNOWN}'", 0, "SKIPPED, nothing was audited"),
        (FOUND, 1, "CVE-1"),
        (OFFLINE, 0, "SKIPPED, nothing was audited"),
    ],
)
def test_only_a_known_hole_fails(tmp_path: Path, audit: str, status: int, said: str) -> None:
    """Nothing found is good; where nobody can be asked it is said that nothing was audited."""
    program = tmp_path / "pip-audit"
    program.write_text(f"#!/bin/sh\n{audit}\n")
    program.chmod(0o700)
    done = subprocess.run(
        [CHECKOUT / ".ci/audit", tmp_path], capture_output=True, text=True, check=False
    )

    assert status == done.returncode, done.stderr
    assert said in done.stdout + done.stderr
