"""Dockerfile and compose.yaml: read by the programs themselves, and held to the rest of us."""

import json
import math
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from common.addresses import split_address
from common.config import Config, parse
from devtools.nginx import CONF
from devtools.services import CHECKOUT, with_section
from front.query import MAX_TEXTS
from front.wires.immich import ANSWER_S
from front.write_requests import MAX_WRITES
from front.writes import PUTS_AT_ONCE
from middle.messages import MAX_INPUTS
from tests.docs.pages import fences_of
from tests.edge.image import DOCKERFILE

OPTIONAL = ("gateway", "redis", "torchserve")
"""The profiles, each with a service of its name."""
BUILT = re.compile("clip-search:(cpu|cuda|torchserve)")
PINNED = re.compile(r"[a-z]+:\d+\.\d+\.\d+-[a-z-]+(@sha256:[0-9a-f]{64})?")
"""An image of others: a release, or a digest beside it."""


def installed(name: str) -> str:
    """A program of requirements-dev.txt, which has it for Linux."""
    program = Path(sys.executable).parent / name
    if not program.exists():
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(f"{name} is not here")
    return str(program)


def compose(*files: str, **variables: str) -> Any:
    """The services as compose itself understands the files, with all profiles."""
    named = [word for file in ("compose.yaml", *files) for word in ("-f", file)]
    done = subprocess.run(
        [installed("docker-compose"), *named, "--profile", "*", "config", "--format", "json"],
        cwd=CHECKOUT,
        env={"PATH": os.environ["PATH"], **variables},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (0, "") == (done.returncode, done.stderr)
    return json.loads(done.stdout)["services"]


def test_hadolint_finds_nothing_in_the_dockerfile() -> None:
    """Nor does the shell refuse its entrypoint, which docker must be able to start."""
    done = subprocess.run(
        [installed("hadolint"), "--no-color", "Dockerfile"],
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (0, "") == (done.returncode, done.stdout)
    assert os.access(CHECKOUT / "edge/entrypoint", os.X_OK)
    for name in re.findall(r"requirements\S*\.lock", DOCKERFILE):
        assert (CHECKOUT / name.lstrip("/")).is_file()


def test_the_files_of_the_containers_fit_together() -> None:
    """compose.yaml starts programs that exist, with a configuration whose addresses it serves."""
    services = compose()
    config = parse((CHECKOUT / "edge/config.json").read_bytes())
    text = CONF.read_text()

    for service in services.values():
        for program in re.findall(r"/app/(\S+\.(?:py|cfg))", " ".join(service["command"] or [])):
            assert (CHECKOUT / program).is_file()
    hosts = {split_address(address, "")[0] for address in asked(config)}
    assert {"inference", "search", "middle"} == hosts <= services.keys()
    assert f"server front:{config.front.port};" in text
    assert f"client_max_body_size {config.front.max_body_bytes};" in text
    assert f"{config.front.max_body_bytes} bytes" in text
    (port,) = services["edge"]["ports"]
    assert ("127.0.0.1", "8000") == (port["host_ip"], port["published"])
    assert f"listen {port['target']};" in text


def test_the_edge_waits_for_the_last_of_many_items() -> None:
    """As long as front may take for them: what became of each would be lost."""
    config = parse((CHECKOUT / "edge/config.json").read_bytes())
    (found,) = re.findall(r"location ~ (\S+) {[^}]* proxy_read_timeout (\d+)s;", CONF.read_text())
    paths, waits_s = found
    puts_s = math.ceil(MAX_WRITES / PUTS_AT_ONCE) * config.middle.embed_deadline_ms / 1000
    embeds_s = math.ceil(MAX_TEXTS / MAX_INPUTS) * config.middle.embed_deadline_ms / 1000

    assert max(puts_s, embeds_s, ANSWER_S) < int(waits_s)
    for path in ("images", "images/delete", "embed", "embeddings"):
        assert re.search(paths, f"/v1/{path}")
    for path in ("/predict", "/vectorize", "/vectorize/"):
        assert re.search(paths, path)
    assert not re.search(paths, "/v1/search")


def asked(config: Config) -> list[str]:
    """The addresses that services ask, but for front's."""
    return [*config.inference.addresses, *config.search.addresses, *config.middle.addresses]


def test_the_profiles_are_what_the_guide_configures() -> None:
    """Each adds its service; the keys that the guide shows lead to it."""
    services = compose()
    assert {name: [name] for name in OPTIONAL} == {
        name: service["profiles"] for name, service in services.items() if "profiles" in service
    }
    config = json.loads((CHECKOUT / "edge/config.json").read_bytes())
    (shown,) = (
        json.loads(fence.text)
        for fence in fences_of("docs/guide/deploy.md")
        if fence.kind == "json" and "redis://" in fence.text
    )
    for section, keys in shown.items():
        config = with_section(config, section, **keys)
    changed = parse(json.dumps(config))

    assert changed.middle.cache.startswith("redis://redis:6379/")
    assert "service:middle" == services["torchserve"]["network_mode"]
    assert ["127.0.0.1:8080"] == list(changed.inference.addresses)
    folder = services["torchserve"]["working_dir"]
    assert f"{folder}/key_file.json" == f"/srv/{changed.inference.key_file}"


def test_redis_takes_the_options_of_its_container(tmp_path: Path) -> None:
    """A cache that forgets what was used least, and writes nothing."""
    program = shutil.which("redis-server")
    if program is None:
        pytest.skip("redis-server is not here")
    _, *options = compose()["redis"]["command"]
    asking = "\n".join(["config get save", "config get maxmemory-policy", "config get maxmemory"])
    with subprocess.Popen(
        [program, *options, "--port", "0", "--unixsocket", f"{tmp_path}/redis"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        text=True,
    ) as redis:
        assert redis.stdout is not None
        assert any("ready to accept" in line.lower() for line in redis.stdout)
        client = ["redis-cli", "-s", f"{tmp_path}/redis"]
        told = subprocess.check_output(client, input=asking, text=True)
        redis.terminate()
    assert ["save", "", "maxmemory-policy", "allkeys-lru"] == told.splitlines()[:4]
    assert str(256 * 2**20) in told


def test_the_containers_have_limits_and_pinned_images() -> None:
    """Memory, threads and descriptors of each are bounded; a tag names one release, or a digest."""
    services = compose()

    for name, service in services.items():
        assert {"mem_limit", "pids_limit", "ulimits"} <= service.keys()
        assert f"worker_rlimit_nofile {service['ulimits']['nofile']};" in CONF.read_text()
        pinned = BUILT if name not in ("edge", "redis") else PINNED
        assert pinned.fullmatch(service["image"]), service["image"]
    (python,) = re.findall("ARG PYTHON_IMAGE=(.*)", DOCKERFILE)
    assert PINNED.fullmatch(python)
    assert python == services["prepare"]["build"]["args"]["PYTHON_IMAGE"]


def test_a_gpu_is_for_prepare_and_inference() -> None:
    """Their image has its libraries, which DEVICE builds in."""
    services = compose("edge/cuda.yaml", DEVICE="cuda", UID="1234", IMAGES="/mnt/My Pictures:x")

    reserved = {name for name, service in services.items() if "deploy" in service}
    assert {"prepare", "inference"} == reserved
    build = services["prepare"]["build"]["args"]
    assert ("cuda", "1234", "1000") == (build["DEVICE"], build["UID"], build["GID"])
    assert "clip-search:cuda" == services["inference"]["image"]
    assert "/mnt/My Pictures:x" in {mount["source"] for mount in services["front"]["volumes"]}
    for name in build.keys() & {"DEVICE", "UID", "GID", "PYTHON_IMAGE"}:
        assert f"ARG {name}=" in DOCKERFILE


def test_make_hands_on_what_it_is_called_with(tmp_path: Path) -> None:
    """The variables of compose.yaml, and the file for GPUs; c_down stops what profiles added."""
    docker = tmp_path / "docker"
    docker.write_text('#!/bin/sh\necho "$IMAGES $COMPOSE_PROFILES $DEVICE $*"\n')
    docker.chmod(0o700)

    def called(*words: str) -> str:
        environment = {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
        command = ["make", "--silent", *words]
        return subprocess.check_output(command, cwd=CHECKOUT, env=environment, text=True)

    up = called("c_up", "IMAGES=/mnt/My Pictures", "COMPOSE_PROFILES=redis", "DEVICE=cuda")
    files = "-f compose.yaml -f edge/cuda.yaml"
    assert f"/mnt/My Pictures redis cuda compose {files} up --build --detach\n" == up
    assert "cpu compose -f compose.yaml --profile * down" in called("c_down")
    assert 2 == called("build_all").count(" build")
