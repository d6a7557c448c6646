"""python -m clip_server as CLIP-as-service's pages write it, with clip-client before it."""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from devtools.certificates import Authority
from devtools.services import CHECKOUT, free_ports, http
from tests.gateway.clients import run
from tests.gateway.test_service import ENCODE, SHAPE

WITHIN_S = 60
FLOW = """
jtype: Flow
version: '1'
with:
  port: {port}
{rest}
executors:
  - name: clip_t
    monitoring: true
    port_monitoring: {metrics}
    uses:
      jtype: CLIPEncoder
      with:
        name: starter
        device: cpu
      metas:
        py_modules:
          - clip_server.executors.clip_onnx
"""


@contextmanager
def clip_server(
    *arguments: str, text: str = "", cwd: Path, **variables: str
) -> Iterator[list[str]]:
    """Run the command until it is ready; yields its output. It must end well after SIGTERM."""
    process = subprocess.Popen(
        [sys.executable, "-m", "clip_server", *arguments],
        cwd=cwd,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "PYTHONPATH": str(CHECKOUT), **variables},
    )
    lines: list[str] = []
    assert process.stdin is not None
    assert process.stdout is not None
    reader = threading.Thread(target=lines.extend, args=(process.stdout,))
    reader.start()
    try:
        process.stdin.write(text)
        process.stdin.close()
        deadline = time.monotonic() + WITHIN_S
        while not any("ready: Client" in line for line in lines):
            assert process.poll() is None, "".join(lines)
            assert time.monotonic() < deadline, "".join(lines)
            time.sleep(0.1)
        yield lines
    finally:
        process.terminate()
        status = process.wait(WITHIN_S)
        reader.join()
        process.stdout.close()
    assert status == 0, "".join(lines)


def test_a_flow_from_standard_input(tmp_path: Path) -> None:
    """cat my.yml | python -m clip_server -i: the client embeds, and searching says what is off."""
    port, *metrics = free_ports(3)
    rest = f"  monitoring: true\n  port_monitoring: {metrics[0]}"
    text = FLOW.format(port=port, rest=rest, metrics=metrics[1])
    with clip_server("-i", text=text, cwd=tmp_path, CUDA_VISIBLE_DEVICES="") as lines:
        url = f"grpc://127.0.0.1:{port}"
        assert any(f"ready: Client('{url}')" in line for line in lines)
        assert "    executors[0].uses.with.name: starter\n" in lines
        assert run("pydantic-1", ENCODE, url)[-1].startswith(SHAPE)
        search = ENCODE.replace("client.encode", "client.search").replace(".shape", "")
        assert "only embeds" in run("pydantic-1", search, url)[-1]
        index = search.replace("client.search", "client.index")
        assert "nothing can be put into the index here" in run("pydantic-1", index, url)[-1]
        for number in metrics:
            found = http.request("GET", f"http://127.0.0.1:{number}/metrics").data
            assert b"clip_search_requests_total" in found


def test_a_flow_with_tls_from_a_file(tmp_path: Path) -> None:
    """Its paths start from its folder."""
    authority = Authority(tmp_path / "authority")
    certificate = authority.issue("server")
    certificate.rename(tmp_path / "server.pem")
    port, metrics = free_ports(2)
    rest = "  protocol: websocket\n  cors: true\n  ssl_certfile: server.pem"
    (tmp_path / "my.yml").write_text(FLOW.format(port=port, rest=rest, metrics=metrics))
    with clip_server(str(tmp_path / "my.yml"), cwd=CHECKOUT):
        trust = {"SSL_CERT_FILE": str(authority.file)}
        shown = run("pydantic-1", ENCODE, f"wss://127.0.0.1:{port}", variables=trust)
        assert shown[-1].startswith(SHAPE), shown


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["none.yml"], "cannot read none.yml"),
        (["a.yml", "b.yml"], "python -m clip_server [FILE | -i]"),
        (["-i"], "no Flow"),
        (["photo.yml"], "cannot read photo.yml: 'utf-8' codec"),
    ],
)
def test_what_is_no_flow_stops_the_start(
    tmp_path: Path, arguments: list[str], message: str
) -> None:
    """In one line."""
    (tmp_path / "photo.yml").write_bytes(b"\xff\xd8")
    done = subprocess.run(
        [sys.executable, "-m", "clip_server", *arguments],
        cwd=tmp_path,
        input="",
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(CHECKOUT)},
        check=False,
    )

    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_rr_finds_its_gpus_or_says_that_there_are_none(tmp_path: Path) -> None:
    """CUDA itself would see no device; the executor deals its replicas out."""
    port, metrics = free_ports(2)
    text = FLOW.format(port=port, rest="", metrics=metrics).replace("        device: cpu\n", "")
    done = subprocess.run(
        [sys.executable, "-m", "clip_server", "-i"],
        cwd=tmp_path,
        input=text,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(CHECKOUT), "CUDA_VISIBLE_DEVICES": "RR0:99"},
        check=False,
    )

    assert done.returncode == 2
    assert "'RR0:99', but there are" in done.stderr
