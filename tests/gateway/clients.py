"""Running scripts in the environments of other projects' clients."""

import os
import subprocess
from collections.abc import Mapping

import pytest

from common.errors import MissingPackage
from devtools.client_environments import QUIET, is_installed, programs
from devtools.services import CHECKOUT

WITHIN_S = 300
LARGE = "clip-retrieval"
"""This environment takes 6 GB: only `make clients` installs it."""
ENVIRONMENT_OF = {"grpc": "pydantic-1", "ws": "pydantic-1", "http": "http"}
"""One environment for each scheme that it works with."""


def start(
    environment: str, module: str, *arguments: str, variables: Mapping[str, str] | None = None
) -> subprocess.Popen[str]:
    """Start a module of `client_steps`, or code with `-c`."""
    if environment == LARGE and not is_installed(LARGE) and "ALL_CLIENTS" not in os.environ:
        pytest.skip("`make clients` installs it, 6 GB")
    try:
        python = programs(environment) / "python"
    except MissingPackage as error:
        if os.environ.get("CI") == "true":
            raise
        pytest.skip(str(error))
    program = ["-c", module] if " " in module else ["-m", f"tests.gateway.client_steps.{module}"]
    return subprocess.Popen(
        [str(python), *program, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **QUIET, **(variables or {})},
        cwd=CHECKOUT,
    )


def output_of(client: subprocess.Popen[str]) -> list[str]:
    """The lines that a client prints until it ends, which it must do well."""
    output, errors = client.communicate(timeout=WITHIN_S)
    assert client.returncode == 0, errors
    return output.splitlines()


def run(
    environment: str, module: str, *arguments: str, variables: Mapping[str, str] | None = None
) -> list[str]:
    """Start a client, and wait for its lines."""
    return output_of(start(environment, module, *arguments, variables=variables))
