"""The unmodified clip-client 0.8.3 against the gateway, over each protocol that it has."""

import ast
import base64
import json
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from devtools.gateways import RunningGateway
from devtools.services import Cluster
from devtools.words import all_queries
from tests.gateway.clients import run
from tests.gateway.conftest import SAMPLES

STEPS = ("embedding.py", "finding.py")
TEXTS = [*islice(all_queries(), 1000)]
CAT, OTHER = SAMPLES / "cat-chelsea.jpg", SAMPLES / "owl.jpg"


@pytest.fixture(scope="module")
def given(services: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what the client sends, and the vectors that it should get, from middle."""
    cat, other = (base64.b64encode(file.read_bytes()).decode() for file in (CAT, OTHER))
    vectors = dict(zip(("cat", "other"), embedded(services, images=[cat, other]), strict=True))
    texts = ["a cat", "a red flower", "castle", *TEXTS]
    for start in range(0, len(texts), 64):
        part = texts[start : start + 64]
        vectors |= zip(part, embedded(services, texts=part), strict=True)
    folder = tmp_path_factory.mktemp("given")
    uri = f"data:image/jpeg;base64,{cat}"
    known = {"cat": str(CAT), "other": str(OTHER), "uri": uri, "texts": TEXTS, "vectors": vectors}
    (folder / "given.json").write_text(json.dumps(known))
    return folder


def embedded(services: Cluster, **inputs: list[str]) -> list[list[float]]:
    """The embeddings of texts or images, with the text tower that clip-client gets."""
    found = services.middle.post("/embed", {**inputs, "model": "clip"})["embeddings"]
    assert isinstance(found, list)
    return found


def steps() -> set[str]:
    """The names of all steps."""
    folder = Path(__file__).parent / "client_steps"
    return {
        node.name
        for name in STEPS
        for node in ast.parse((folder / name).read_text()).body
        if isinstance(node, ast.FunctionDef)
        and any(ast.unparse(decorator) == "step" for decorator in node.decorator_list)
    }


def run_steps(environment: str, url: str, folder: Path) -> dict[str, Any]:
    """Run the steps in a client's environment; the failure of each step, or None."""
    output = run(environment, "run", url, str(folder))
    lines = [line for line in output if line.startswith("STEP ")]
    return dict(json.loads(line.removeprefix("STEP ")) for line in lines)


@pytest.mark.parametrize(
    ("environment", "scheme"),
    [
        ("pydantic-1", "grpc"),
        ("pydantic-1", "ws"),
        ("pydantic-2", "grpc"),
        ("pydantic-2", "ws"),
        ("http", "http"),
    ],
)
def test_every_step_works(
    served: RunningGateway, given: Path, environment: str, scheme: str
) -> None:
    """Texts, images, ranking, searching, errors: as against CLIP-as-service's own server."""
    ended = run_steps(environment, served.url(scheme), given)

    assert steps() == ended.keys()
    assert {} == {name: failure for name, failure in ended.items() if failure}
