"""Requests that are made from the OpenAPI document, good and bad, by schemathesis.

`make test` makes the same ones every time; `make fuzz` searches, and prints the seed.
"""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest

from common.keys import Scope
from devtools import services
from devtools.collection import Collection
from devtools.services import Cluster, run_command, with_section

CHECKS = "not_a_server_error,status_code_conformance,content_type_conformance,"
CHECKS += "response_headers_conformance,response_schema_conformance,negative_data_rejection,"
CHECKS += "missing_required_header,unsupported_method,allow_header_conformance,ignored_auth"
"""All but positive_data_acceptance: no schema tells which bytes are an image, or which id is one
of the index."""
FIXED = ["--generation-deterministic", "--max-examples", "10"]
"""Of each kind and operation, the same requests in every run."""
CONFIG = """
[checks.negative_data_rejection]
expected-statuses = ["400", "401", "403", "404", "405", "413", "414", "415", "422", "429", "503"]
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the system lies."""
    return tmp_path_factory.mktemp("schema")


@pytest.fixture(scope="module")
def cluster(folder: Path) -> Iterator[Cluster]:
    """All services."""
    collection = Collection(folder, 10, 2)
    keys = {"keys_file": "keys.json", "image_url": True, "image_url_ports": [1]}
    config = with_section(collection.config, "Front", **keys)
    with services.cluster(config, 1, folder) as running:
        yield running


@pytest.fixture(scope="module")
def key(cluster: Cluster, folder: Path) -> str:
    """A key for all that needs one."""
    scopes = [word for scope in get_args(Scope) for word in ("--scope", scope)]
    done = run_command("front/keys.py", cluster.config, "fuzz", *scopes, cwd=folder)
    assert done.returncode == 0, done.stderr
    return done.stdout.split()[-1]


def without_deadline(cluster: Cluster) -> Any:
    """The document without the header for less time than it takes.

    Then the right answer is 503, which schemathesis calls an error.
    """
    document = cluster.front.get("/openapi.json")
    for methods in document["paths"].values():
        for operation in methods.values():
            parameters = operation.get("parameters", [])
            operation["parameters"] = [p for p in parameters if p["name"] != "X-Deadline-Ms"]
    return document


def test_the_api_is_as_it_is_described(
    cluster: Cluster, key: str, seconds: int | None, tmp_path: Path
) -> None:
    """Whatever is sent, the status and the body of the answer are documented, and never 5xx."""
    (tmp_path / "schemathesis.toml").write_text(CONFIG)
    (tmp_path / "openapi.json").write_text(json.dumps(without_deadline(cluster)))
    command = [sys.executable, "-m", "schemathesis.cli", "run", "openapi.json", "--mode", "all"]
    command += ["--url", f"http://{cluster.front.address}"]
    how = ["--max-time", str(5 * seconds)] if seconds else FIXED
    how = [*how, "--checks", CHECKS]

    done = subprocess.run(
        [
            *(*command, *how),
            *("--header", f"Authorization: Bearer {key}"),
            *("--header", "X-Deadline-Ms: 60000"),
        ],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=300 + 10 * (seconds or 0),
    )

    assert 0 == done.returncode, done.stdout[-8000:]
    headers = {"Authorization": f"Bearer {key}"}
    assert 200 == cluster.front.request("GET", "/v1/search?text=red", headers=headers).status
