"""The Markdown pages of this project: their fences with marks, their links, their anchors."""

import re
import subprocess
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import msgspec
from markdown_it import MarkdownIt
from markdown_it.token import Token

from common.config import CHECKOUT, Config

MARKDOWN = MarkdownIt("commonmark").enable("table")
MARK = re.compile(r"<!-- (not run|keeps running|config\.json as it ships)(?:: (.+))? -->\s*")
SECTIONS = {field.encode_name for field in msgspec.structs.fields(Config)}
"""Of config.json."""
REASONS = {
    "installs packages",
    "needs a GPU",
    "needs a second machine",
    "needs a collector of traces",  # tests/test_observability.py has one
    "needs docker",
    "needs a cluster",  # tests/deploy renders the chart
    "needs a host with systemd",  # tests/deploy has systemd read the units
    "needs the Internet",
    "needs the model hub",
    "needs torch",  # 7.1 GB: tests/torch exports models and runs TorchServe
}
"""Why a fence may not be run."""
OTHER_PAGES = ("observability", "operations")
"""Those of docs/ that have commands, beside the guide."""


class Fence(NamedTuple):
    """A block of code and what the comments directly above it say."""

    line: int
    kind: str
    text: str
    marks: dict[str, str]

    @property
    def not_run(self) -> str | None:
        """Why no test runs it."""
        return self.marks.get("not run")

    @property
    def keeps_running(self) -> str | None:
        """The address that answers once it has started, for what runs until Ctrl-C."""
        return self.marks.get("keeps running")

    @property
    def on_shipped_config(self) -> bool:
        """Whether it goes on from the config.json that ships, not from what the page changed."""
        return "config.json as it ships" in self.marks


def all_pages() -> list[str]:
    """Every Markdown file that is, or would be, under version control."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "*.md"]
    listed = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, check=True)
    return [name for name in sorted(set(listed.stdout.split())) if (CHECKOUT / name).exists()]


def pages_with_commands() -> list[str]:
    """The pages whose commands are run."""
    guide = sorted((CHECKOUT / "docs/guide").glob("*.md"))
    others = ["README.md", *(f"docs/{name}.md" for name in OTHER_PAGES)]
    return [*others, *(str(page.relative_to(CHECKOUT)) for page in guide)]


def tokens_of(name: str) -> list[Token]:
    """A page, parsed."""
    return MARKDOWN.parse((CHECKOUT / name).read_text())


def fences_of(name: str) -> list[Fence]:
    """The fences of a page, in order; raises ValueError for a comment that marks none."""
    found: list[Fence] = []
    marks: dict[str, str] = {}
    end = -1
    for token in tokens_of(name):
        if token.type not in ("html_block", "fence"):
            continue
        start, stop = token.map or (0, 0)
        if marks and start != end:
            raise ValueError(f"{name}:{end}: no fence directly below the comment")
        if token.type == "fence":
            found.append(Fence(start + 1, token.info, token.content, marks))
            marks = {}
        elif match := MARK.fullmatch(token.content):
            marks, end = {**marks, match[1]: match[2] or ""}, stop
        else:
            raise ValueError(f"{name}:{start + 1}: not a comment that is known")
    if marks:
        raise ValueError(f"{name}:{end}: no fence directly below the comment")
    return found


def lines_of_tables(name: str) -> set[int]:
    """The numbers of the lines that belong to tables, from 1."""
    tables = (token.map for token in tokens_of(name) if token.type == "table_open")
    return {line + 1 for start, end in filter(None, tables) for line in range(start, end)}


def links_of(name: str) -> Iterator[str]:
    """Where the links and images of a page lead."""
    for token in tokens_of(name):
        for child in token.children or []:
            target = child.attrGet("href") if child.type == "link_open" else child.attrGet("src")
            if target:
                yield str(target)


def anchors_of(name: str) -> set[str]:
    """The anchors that GitHub gives the headings of a page."""
    found: set[str] = set()
    tokens = tokens_of(name)
    for opening, inline in pairwise(tokens):
        if opening.type == "heading_open":
            text = "".join(child.content for child in inline.children or []).lower()
            anchor = re.sub(r"[^\w\- ]", "", text).replace(" ", "-")
            copies = (f"{anchor}-{count}" for count in range(1, 100))
            found.add(anchor if anchor not in found else next(c for c in copies if c not in found))
    return found


def file_of(page: str, target: str) -> tuple[Path, str]:
    """The file and the anchor that a relative link of a page leads to."""
    path, _, anchor = target.partition("#")
    return ((CHECKOUT / page).parent / path if path else CHECKOUT / page).resolve(), anchor
