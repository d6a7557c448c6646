"""What a container runs: all services, a configuration or a Flow from standard input, a command."""

import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from common.config import parse
from devtools.services import CHECKOUT, free_ports, http, with_section
from tests.edge.image import DOCKERFILE, Image

SHIPPED = CHECKOUT / "edge/one-container.json"


@pytest.fixture(scope="module")
def image() -> Iterator[Image]:
    """In a folder that other users may read, which those of pytest are not."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        image = Image(Path(folder) / "image")
        for picture in sorted((image.srv / "images").glob("*.jpg"))[5:]:
            picture.unlink()
        yield image


def on_free_ports(config: dict[str, Any]) -> dict[str, Any]:
    """A configuration for a test beside others."""
    front, middle, inference, search, grpc, rest = free_ports(6)
    config = with_section(config, "Search", server_list=[f"127.0.0.1:{search}"])
    for section, port in (("Front", front), ("Middle", middle), ("Inference", inference)):
        config = with_section(config, section, port=port)
    return with_section(config, "Gateway", port=grpc, http_port=rest)


def search(config: dict[str, Any]) -> Any:
    """An answer of front."""
    return http.request(
        "GET", f"http://127.0.0.1:{config['Front']['port']}/v1/search?text=a+cat&require_full=true"
    )


def test_without_arguments_the_images_are_indexed_and_all_is_served(image: Image) -> None:
    """docker run IMAGE; a second start on the same volume embeds nothing."""
    config = on_free_ports(json.loads((image.srv / "config.json").read_bytes()))
    (image.srv / "config.json").write_text(json.dumps(config))

    with image.serving():
        answer = search(config)
        assert (200, 5) == (answer.status, len(answer.json()["hits"]))
        encoded = http.request(
            "POST",
            f"http://127.0.0.1:{config['Gateway']['http-port']}/post",
            json={"data": [{"text": "a cat"}], "execEndpoint": "/encode"},
        )
        assert 200 == encoded.status
    status, printed = image.run("prepare")
    assert 0 == status, printed
    assert "5 images" in printed


def test_a_configuration_from_standard_input(image: Image) -> None:
    """cat config.json | docker run -i IMAGE -i: its paths start from /srv."""
    config = on_free_ports(json.loads((CHECKOUT / "config.json").read_bytes()))
    config = with_section(config, "Prepare", embedding_dir="data/other/embeddings")
    for name in ("index", "path", "hash"):
        config = with_section(config, "Prepare", **{f"{name}_dir": f"data/other/{name}"})

    with image.serving("-i", text=json.dumps(config)) as lines:
        assert 5 == len(search(config).json()["hits"])
    assert any(line.startswith("warning: no address here is 0.0.0.0") for line in lines)
    assert (image.srv / "data/other/index/CURRENT").exists()


def test_a_flow_from_standard_input(image: Image) -> None:
    """cat my.yml | docker run -i IMAGE -i: published ports reach it, as CLIP-as-service's."""
    (port,) = free_ports(1)
    flow = (CHECKOUT / "clip_server/onnx-flow.yml").read_text()
    flow = flow.replace("port: 51000", f"port: {port}\n  protocol: http")
    flow = flow.replace("      metas:", "      with: {name: starter, device: cpu}\n      metas:")

    with image.serving("-i", text=flow) as lines:
        (line,) = (line for line in lines if line.startswith("  config.json: "))
        gateway = json.loads(line.partition(": ")[2])["Gateway"]
        assert ("0.0.0.0", port) == (gateway["address"], gateway["http-port"])
        answer = http.request(
            "POST",
            f"http://127.0.0.1:{port}/post",
            json={"data": [{"text": "a cat"}], "execEndpoint": "/encode"},
        )
        assert answer.json()["data"][0]["embedding"]


def test_other_words_are_a_command(image: Image) -> None:
    """Its status is that of the container; a file of a Flow need not be piped."""
    assert (7, "/srv\n") == image.run("sh", "-c", "echo ${PWD#*/image}; exit 7")
    status, printed = image.run("none.yml")
    assert (2, True) == (status, "cannot read none.yml" in printed)


@pytest.mark.parametrize(
    ("text", "message"), [("{}}", "JSON is malformed"), ('{"Fron": {}}', "`Fron`")]
)
def test_a_wrong_configuration_ends_the_container(image: Image, text: str, message: str) -> None:
    """With status 2 and one line, before anything starts."""
    status, printed = image.run("-i", text=text)

    assert 2 == status
    (line,) = (line for line in printed.splitlines() if line.startswith("error: "))
    assert message in line


def test_the_ports_of_the_image_are_those_of_its_configuration() -> None:
    """8000 for the page and the API; 51000 and the next for clients of CLIP-as-service."""
    config = parse(SHIPPED.read_bytes())

    assert config.gateway is not None
    ports = config.front.port, config.gateway.port, config.gateway.http_port
    assert f"EXPOSE {' '.join(map(str, ports))}\n" in DOCKERFILE
    assert {"0.0.0.0"} == {config.front.address, config.gateway.address}
