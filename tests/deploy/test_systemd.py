"""The units of systemd, as systemd reads them: of this checkout in place of /opt/clip-search."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from common.config import CHECKOUT

UNITS = CHECKOUT / "deploy/systemd"
DROP_IN = "clip-search-.service.d/common.conf"
SERVICES = sorted(path.name for path in UNITS.glob("*.service"))
SAFE = 22
"""The exposure that `systemd-analyze security` may find, of 100: it calls up to 40 OK."""


def analyze(*words: str) -> str:
    """Run systemd-analyze, which must be content; returns what it prints."""
    program = shutil.which("systemd-analyze")
    if program is None:
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)("systemd is not here")
    done = subprocess.run([program, *words], capture_output=True, text=True, check=False)
    assert 0 == done.returncode, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.fixture(scope="module")
def units(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The units with the paths of this machine, and an instance of each template."""
    folder = tmp_path_factory.mktemp("units")
    for path in UNITS.rglob("*.*"):
        if path.is_file():
            text = path.read_text().replace("/opt/clip-search/.venv/bin/python", sys.executable)
            named = folder / str(path.relative_to(UNITS)).replace("@.", "@0-1.")
            named.parent.mkdir(exist_ok=True)
            named.write_text(text.replace("/opt/clip-search", str(CHECKOUT)))
    return folder


def test_systemd_reads_the_units(units: Path) -> None:
    """No key, value, program or unit that is named is unknown to it."""
    assert "" == analyze(
        "verify", "--man=no", *(str(path) for path in units.iterdir() if path.is_file())
    )


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_is_confined(name: str, units: Path) -> None:
    """Each takes the settings that all share."""
    unit = str(units / name.replace("@.", "@0-1."))
    analyze("security", "--offline=true", f"--threshold={SAFE}", "--no-pager", unit)


@pytest.mark.parametrize("name", SERVICES)
def test_programs_and_their_options_exist(name: str) -> None:
    """And those that serve belong to the target, which starts and stops them together."""
    text = (UNITS / name).read_text()
    (program, options) = re.findall(r"^ExecStart=.*/opt/clip-search/(\S+\.py)(.*)$", text, re.M)[0]
    command = [sys.executable, str(CHECKOUT / program), "--help"]
    known = subprocess.run(command, capture_output=True, text=True, check=True).stdout

    assert all(option in known for option in re.findall(r"--[a-z-]+", options))
    assert ("prepare" in name) == ("WantedBy=clip-search.target" not in text)
    assert "PartOf=clip-search.target" in (UNITS / DROP_IN).read_text()


@pytest.mark.parametrize("name", [name for name in SERVICES if "prepare" not in name])
def test_a_service_is_started_again_whatever_ended_it(name: str) -> None:
    """Status 2, too: an address, a hub or memory may be late. No number of ends is the last."""
    settings = dict(re.findall(r"^(\w+)=(.*)$", (UNITS / name).read_text(), re.M))
    shared = dict(re.findall(r"^(\w+)=(.*)$", (UNITS / DROP_IN).read_text(), re.M))

    assert "always" == settings["Restart"]
    assert "0" == shared["StartLimitIntervalSec"]
    assert not {"RestartPreventExitStatus", "StartLimitIntervalSec"} & settings.keys()


def test_an_instance_names_the_entry_and_the_replica() -> None:
    """clip-search-search@12-1 is the second address of entry 12."""
    text = (UNITS / "clip-search-search@.service").read_text()
    (script,) = re.findall(r"^ExecStart=/bin/sh -c '(.*)'$", text, re.M)
    script = script.replace("%i", "12-1").replace("%%", "%").replace("$$", "$")
    said = subprocess.check_output(["sh", "-c", script.replace("exec", "echo")], text=True)

    assert said.strip().endswith("--server-index 12 --replica 1")
