"""What can be told of the pages without running a command."""

import json
import re
import shlex
import subprocess
import sys

import pytest

from common.config import CHECKOUT, parse
from tests.docs.pages import (
    REASONS,
    SECTIONS,
    all_pages,
    anchors_of,
    fences_of,
    file_of,
    lines_of_tables,
    links_of,
    pages_with_commands,
)

KINDS = {"sh", "json", "text"}
LINE = 100
URL = re.compile(r"\S*\w+://\S+")


def test_the_readme_is_short() -> None:
    """A newcomer reads it once: 8 kB at most."""
    assert len((CHECKOUT / "README.md").read_bytes()) < 8000


@pytest.mark.parametrize("page", all_pages())
def test_lines_end_at_100_characters(page: str) -> None:
    """But for rows of tables, and an address that fills its line and cannot be broken."""
    lines = (CHECKOUT / page).read_text().splitlines()
    tables = lines_of_tables(page)
    long = [
        f"{page}:{number}"
        for number, line in enumerate(lines, 1)
        if len(line) > LINE and number not in tables and not URL.fullmatch(line.strip("-*> "))
    ]
    assert [] == long


@pytest.mark.parametrize("page", all_pages())
def test_links_lead_somewhere(page: str) -> None:
    """Each relative link names a file that is there, and a heading of it."""
    for target in links_of(page):
        if re.match(r"\w+:", target):
            continue
        file, anchor = file_of(page, target)
        assert file.exists(), f"{page}: {target}"
        if anchor:
            name = str(file.relative_to(CHECKOUT))
            assert anchor in anchors_of(name), f"{page}: {target}"


def test_the_index_of_the_guide_is_whole() -> None:
    """It names each page, and ten questions."""
    text = (CHECKOUT / "docs/guide/README.md").read_text()
    linked = {file_of("docs/guide/README.md", link)[0] for link in links_of("docs/guide/README.md")}

    assert set((CHECKOUT / "docs/guide").glob("*.md")) - linked == {
        CHECKOUT / "docs/guide/README.md"
    }
    assert 10 == len(re.findall(r"^\| How .*\?|^\| What .*\?", text, re.MULTILINE))


@pytest.mark.parametrize("page", pages_with_commands())
def test_marks_have_a_known_reason(page: str) -> None:
    """A fence says what it holds; one that is not run has one of a short list of reasons."""
    for fence in fences_of(page):
        assert fence.kind in KINDS, f"{page}:{fence.line}"
        assert fence.not_run is None or fence.not_run in REASONS, f"{page}:{fence.line}"


@pytest.mark.parametrize("page", pages_with_commands())
def test_settings_are_settings(page: str) -> None:
    """JSON is well-formed; what has a section of config.json is taken as a configuration."""
    for fence in fences_of(page):
        if fence.kind == "json" and SECTIONS & set(json.loads(fence.text)):
            parse(fence.text)


@pytest.mark.parametrize("page", pages_with_commands())
def test_commands_that_are_not_run_exist(page: str) -> None:
    """The shell reads them; our scripts have the options, the Makefile the targets."""
    for fence in fences_of(page):
        if fence.kind != "sh" or not fence.not_run:
            continue
        subprocess.run(["bash", "-n"], input=fence.text, text=True, check=True)
        for line in fence.text.replace("\\\n", " ").splitlines():
            check_command(shlex.split(line, comments=True), f"{page}:{fence.line}")


def check_command(words: list[str], where: str) -> None:
    """Fail for one of our commands that does not know an option that it is given."""
    if words[:1] == ["make"]:
        targets = [word for word in words[1:] if "=" not in word]
        subprocess.run(["make", "--dry-run", *targets], cwd=CHECKOUT, check=True)
    if words and words[0].endswith("python") and words[1].endswith(".py"):
        command = [sys.executable, str(CHECKOUT / words[1]), "--help"]
        known = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        unknown = [word for word in words if word.startswith("--") and word not in known]
        assert [] == unknown, where
