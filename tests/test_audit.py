"""The audit of what the locks install, with the program that it asks stood in for."""

import os
import subprocess
from pathlib import Path

import pytest

from devtools.services import CHECKOUT

NONE = 'echo "No known vulnerabilities found" >&2'
KNOWN = '{"name": "urllib3", "version": "1", "vulns": []}'
UNKNOWN = '{"name": "numpy", "skip_reason": "numpy could not be audited"}'
FOUND = 'echo "Found 1 known vulnerability in 1 package" >&2; echo \'{"vulns": ["CVE-1"]}\'; exit 1'
OFFLINE = 'echo "ConnectionError: no route to host" >&2; exit 1'


def run_audit(folder: Path, canary: str, audit: str, ci: bool) -> subprocess.CompletedProcess[str]:
    """Run the audit with shell commands for what is answered about the canary and the lock."""
    program = folder / "pip-audit"
    program.write_text(f'#!/bin/sh\ncase "$*" in *canary*) {canary};; *) {audit};; esac\n')
    program.chmod(0o700)
    return subprocess.run(
        [CHECKOUT / ".ci/audit", folder],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "CI": "true" if ci else ""},
    )


@pytest.mark.parametrize("ci", [False, True])
@pytest.mark.parametrize(
    ("audit", "status", "said"),
    [
        (f"{NONE}; echo '{KNOWN}'", 0, "No known vulnerabilities"),
        (f"{NONE}; echo '{KNOWN}, {UNKNOWN}'", 0, "SKIPPED 1 of 2 packages"),
        (FOUND, 1, "CVE-1"),
    ],
)
def test_a_known_hole_fails(tmp_path: Path, ci: bool, audit: str, status: int, said: str) -> None:
    """Nothing found is good; the packages that the database lacks are counted."""
    done = run_audit(tmp_path, FOUND, audit, ci)

    assert status == done.returncode, done.stderr
    assert said in done.stdout + done.stderr


@pytest.mark.parametrize("ci", [False, True])
@pytest.mark.parametrize("audit", [f"{NONE}; echo '{UNKNOWN}'", OFFLINE])
def test_an_audit_of_nothing_fails_in_ci(tmp_path: Path, ci: bool, audit: str) -> None:
    """Where there is a database; elsewhere it is said that nothing was audited."""
    done = run_audit(tmp_path, FOUND, audit, ci)

    assert int(ci) == done.returncode, done.stderr
    assert "SKIPPED, nothing was audited" in done.stderr


@pytest.mark.parametrize("canary", [f"{NONE}; echo '{KNOWN}'", OFFLINE])
def test_who_does_not_know_an_old_hole_is_no_database(tmp_path: Path, canary: str) -> None:
    """What it says of other packages counts for nothing, also in CI."""
    done = run_audit(tmp_path, canary, f"{NONE}; echo '{KNOWN}'", ci=True)

    assert 0 == done.returncode, done.stderr
    assert "SKIPPED, nothing was audited" in done.stderr
    assert "No known vulnerabilities" not in done.stdout


def test_what_the_containers_install_is_audited(tmp_path: Path) -> None:
    """Beside what make install does."""
    both = '*" requirements.lock "*" requirements-image.lock"'
    audit = f"case \"$*\" in {both}) {NONE}; echo '{KNOWN}';; *) exit 1;; esac"
    done = run_audit(tmp_path, FOUND, audit, ci=True)

    assert 0 == done.returncode, done.stderr
