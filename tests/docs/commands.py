"""Running the fences of a page, in order."""

import json
import os
import shutil
from typing import Any

import pytest

from tests.docs.checkout import Checkout
from tests.docs.pages import SECTIONS, fences_of

PROGRAMS = ("curl", "git", "make", "nginx", "openssl", "redis-cli", "redis-server")
PATH = f"{os.environ['PATH']}:/usr/sbin"


def run_page(page: str, checkout: Checkout) -> None:
    """Run the commands of a page; a JSON fence is a setting, or the form of the reply before."""
    fences = [fence for fence in fences_of(page) if not fence.not_run and fence.kind != "text"]
    assert fences
    require(" ".join(fence.text for fence in fences))
    printed = ""
    for fence in fences:
        if fence.on_shipped_config:
            checkout.ship_config()
        text = checkout.here(fence.text)
        if fence.keeps_running:
            checkout.start(text, checkout.here(fence.keeps_running))
        elif fence.kind == "sh":
            printed = checkout.run(text)
        elif SECTIONS & set(json.loads(text)):
            checkout.set_config(json.loads(text))
        else:
            assert form(json.loads(printed)) == form(json.loads(text)), f"{page}:{fence.line}"


def require(commands: str) -> None:
    """Skip where a program is missing that the commands call; fail instead under CI=true."""
    called = [name for name in PROGRAMS if f"{name} " in commands]
    missing = [name for name in called if not shutil.which(name, path=PATH)]
    if "nginx" in called and os.geteuid():
        missing.append("root, for nginx")
    if missing:
        absent = pytest.fail if os.environ.get("CI") == "true" else pytest.skip
        absent(f"not here: {', '.join(missing)}")


def form(value: Any) -> Any:
    """The names and kinds in a JSON value; of a list, those of its first item."""
    if isinstance(value, dict):
        return {name: form(one) for name, one in value.items()}
    if isinstance(value, list):
        return [form(one) for one in value[:1]]
    return "number" if type(value) in (int, float) else type(value).__name__
