"""The examples of docs/reference/api.md do what they say."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from common.config import CHECKOUT
from devtools import services
from devtools.collection import Collection
from devtools.reference.examples import EXAMPLES, REPLIES
from devtools.services import Cluster
from front.openapi.document import document
from front.write_requests import WriteResults
from middle.messages import Answer, ClassifyAnswer, EmbedAnswer, Info
from middle.segment_messages import SegmentAnswer
from middle.write_messages import Written

ADDRESS = "http://127.0.0.1:8000"
TYPES: dict[str, Any] = {
    "search": Answer,
    "classify": ClassifyAnswer,
    "segment": SegmentAnswer,
    "embed": EmbedAnswer,
    "put": WriteResults,
    "delete": Written,
    "info": Info,
}
NEEDS_A_KEY = {"purge"}
"""tests/front/test_cache.py sends it with one."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which the samples are, as in the checkout."""
    made = tmp_path_factory.mktemp("examples")
    (made / "samples").symlink_to(CHECKOUT / "samples")
    return made


@pytest.fixture(scope="module")
def cluster(folder: Path) -> Iterator[Cluster]:
    """All services over a few images, with time for labels that were never embedded."""
    if not shutil.which("curl"):
        absent = pytest.fail if os.environ.get("CI") == "true" else pytest.skip
        absent("curl is not installed")
    collection = Collection(folder, images=12, shards=1)
    config = services.with_section(collection.config, "Middle", deadline_ms=60_000)
    with services.cluster(config, 1, folder) as running:
        yield running


def test_each_route_has_an_example() -> None:
    """And there is no example of a route that is not there."""
    operations = [one for path in document(True)["paths"].values() for one in path.values()]
    assert set(EXAMPLES) == {one["operationId"] for one in operations}


@pytest.mark.parametrize("name", REPLIES)
def test_a_reply_has_the_type_that_the_page_says(name: str) -> None:
    """No field is missing in it, and none is of another type."""
    reply = msgspec.json.decode(REPLIES[name], type=TYPES[name])
    given = msgspec.structs.asdict(reply)
    fields = msgspec.structs.fields(type(reply))

    assert {one.encode_name for one in fields if given[one.name] is not msgspec.UNSET} == set(
        msgspec.json.decode(REPLIES[name])
    )


@pytest.mark.parametrize("name", sorted(set(EXAMPLES) - NEEDS_A_KEY))
def test_an_example_is_answered(name: str, cluster: Cluster, folder: Path) -> None:
    """Each of its commands ends well: curl is told to fail for an error."""
    found = cluster.front.get("/v1/search?text=red&k=1")["hits"][0]["id"]
    script = EXAMPLES[name].replace(ADDRESS, f"http://{cluster.front.address}")
    assert ADDRESS in EXAMPLES[name]
    done = subprocess.run(
        ["sh", "-e", "-c", script.replace("curl ", "curl --fail-with-body --silent ")],
        env={**os.environ, "ID": found},
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stdout + done.stderr
