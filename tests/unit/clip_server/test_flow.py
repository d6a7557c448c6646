"""Flows of CLIP-as-service, as its pages show them, as configurations of ours."""

import itertools
import json
from typing import Any

import pytest

from clip_server.__main__ import PRESETS
from clip_server.flow import Fields, Machine, read_flow, understand
from common.config import CHECKOUT, parse
from common.errors import ConfigError

FLOW = """
jtype: Flow
version: '1'
with:
  port: 51000
  {flow}
executors:
  - name: clip_t
    uses:
      jtype: CLIPEncoder
      with: {settings}
      metas:
        py_modules: [{module}]
    timeout_ready: 3000000
    {executor}
"""


def machine(gpus: int = 0, has_torch: bool = True, devices: str = "") -> Machine:
    return Machine(gpus, has_torch, devices, itertools.count(40000).__next__)


def text_of(
    flow: str = "",
    executor: str = "",
    module: str = "clip_server.executors.clip_torch",
    **keys: Any,
) -> str:
    settings = json.dumps(keys)
    return FLOW.format(flow=flow, executor=executor, module=module, settings=settings)


def config_of(text: str, there: Machine | None = None) -> Fields:
    """The configuration for a Flow, which our own reading accepts."""
    config = understand(read_flow(text), there or machine()).config
    parse(json.dumps(config))
    return config


@pytest.mark.parametrize(
    ("name", "runtime"),
    [("torch", "torch"), ("onnx", "onnxruntime"), ("tensorrt", "tensorrt")],
)
def test_the_presets(name: str, runtime: str) -> None:
    """Each has its runtime, port 51000 and CLIP-as-service's model."""
    config = config_of((PRESETS / f"{name}-flow.yml").read_text())

    assert config["Inference"]["runtime"] == runtime
    assert config["Inference"]["clip"] == "ViT-B-32::openai"
    assert config["Gateway"]["port"] == 51000
    assert config["Gateway"]["protocols"] == ["grpc"]
    assert config["Search"] == {"server-list": []}


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"device": "cuda"}, {"device": "cuda", "precision": "fp16"}),
        ({"device": "cuda", "dtype": "fp32"}, {"precision": "fp32"}),
        ({"device": "cpu", "dtype": "bf16"}, {"device": "cpu", "precision": "bf16"}),
        ({"jit": True}, {"runtime": "torch-compile"}),
        ({"minibatch_size": 16}, {"max-batch": 16}),
        ({"num_worker_preprocess": 3}, {"decode-threads": 3}),
        ({"name": "RN50::openai"}, {"clip": "RN50::openai", "mclip": None}),
        ({"name": "x", "model_path": "models/mine"}, {"clip": "models/mine"}),
        ({"access_paths": "@r"}, {"device": "cpu", "precision": "fp32"}),
    ],
)
def test_the_keys_of_the_executor(settings: Fields, expected: Fields) -> None:
    """Those of CLIP-as-service's table."""
    inference = config_of(text_of(**settings))["Inference"]

    assert expected.items() <= inference.items()


def test_a_multilingual_model_brings_its_image_model() -> None:
    """And is the text tower for requests without a model's name."""
    config = config_of(text_of(name="M-CLIP/XLM-Roberta-Large-Vit-B-32"))

    assert config["Inference"]["mclip"] == "M-CLIP/XLM-Roberta-Large-Vit-B-32"
    assert config["Inference"]["clip"] == "ViT-B-32::openai"
    assert config["Gateway"]["text-model"] == "mclip"


@pytest.mark.parametrize(
    ("flow", "expected"),
    [
        ("protocol: websocket", {"protocols": ["websocket"], "http-port": 51000}),
        ("protocol: http", {"protocols": ["http"], "http-port": 51000}),
        ("protocol: [grpc, http]", {"protocols": ["grpc", "http"], "http-port": 51001}),
        ("protocol: [http, grpc]", {"port": 51000, "http-port": 51001}),
        ("protocol: [http, websocket]", {"http-port": 51000}),
        ("prefetch: 10", {"prefetch": 10}),
        ("host: 0.0.0.0", {"address": "0.0.0.0", "open": True}),
        ("ssl_certfile: c.pem\n  ssl_keyfile: k.pem", {"tls-cert": "c.pem", "tls-key": "k.pem"}),
        ("monitoring: true", {"metrics-port": 9090}),
        ("monitoring: true\n  port_monitoring: 1234", {"metrics-port": 1234}),
        ("monitoring: true\n  port_monitoring: '1234'", {"metrics-port": 1234}),
        ("port_monitoring: 1234", {"metrics-port": None}),
        ("cors: true", {"port": 51000}),
    ],
)
def test_the_keys_of_the_flow(flow: str, expected: Fields) -> None:
    """A port is that of the protocol; several protocols take the next port, too."""
    assert expected.items() <= config_of(text_of(flow))["Gateway"].items()


def with_ports(protocols: str, ports: str) -> str:
    """A Flow with these protocols and ports."""
    return text_of(f"protocol: {protocols}").replace("port: 51000", f"port: {ports}")


@pytest.mark.parametrize(
    ("protocols", "ports"),
    [("[http, grpc]", "[7000, 7001]"), ("[websocket, grpc, http]", "[7000, 7001, 7000]")],
)
def test_several_protocols_with_a_port_each(protocols: str, ports: str) -> None:
    """In their order."""
    gateway = config_of(with_ports(protocols, ports))["Gateway"]

    assert (gateway["http-port"], gateway["port"]) == (7000, 7001)


@pytest.mark.parametrize(
    ("replicas", "devices", "expected"),
    [(3, "RR", "RR"), (2, "RR0:2", "RR0:2"), (2, "0,1", "cuda"), (2, "", "cuda")],
)
def test_replicas_and_devices(replicas: int, devices: str, expected: str) -> None:
    """`RR` and `RR0:2` deal the replicas out, as CLIP-as-service's tables say."""
    text = text_of(executor=f"replicas: {replicas}\n    monitoring: true")
    inference = config_of(text, machine(gpus=3, devices=devices))["Inference"]

    assert (inference["replicas"], inference["device"]) == (replicas, expected)
    assert inference["metrics-port"] == 9091


@pytest.mark.parametrize("module", ["executors/clip_onnx.py", "clip_onnx"])
def test_a_module_may_be_a_path(module: str) -> None:
    """As in older Flows."""
    assert config_of(text_of(module=module))["Inference"]["runtime"] == "onnxruntime"


def test_without_torch_onnx_runtime_runs_the_model() -> None:
    """Torch is 6 GB, and not installed by default."""
    there = machine(has_torch=False)
    assert config_of(text_of(), there)["Inference"]["runtime"] == "onnxruntime"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "no YAML"),
        ("- a", "no Flow"),
        ('{"Front": {"port": 8000}}', r"common\.supervisor"),
        ("jtype: Flow", "one executor"),
        ("jtype: Flow\nexecutors: [null]", "one executor"),
        (with_ports("[grpc, http, websocket]", "[1, 2, 3]"), "with.port: HTTP and WebSocket share"),
        (with_ports("[grpc, http, websocket]", "[1, 2]"), "with.port: name one port, or one for"),
        (with_ports("grpc", "[1, 2]"), "with.port: name one port"),
        (with_ports("grpc", "[]"), "with.port: name one port"),
        (with_ports("[grpc, http]", "'51000'"), "with.port: name one port"),
        (text_of("uvicorn_kwargs: {ssl_keyfile_password: x}"), "with.uvicorn_kwargs.ssl_keyfile"),
        (text_of(executor="env: {A: b}\n    shards: 2"), r"executors\[0\].env.A, executors\[0\]"),
        (text_of(traversal="@c"), "uses.with.traversal"),
        (text_of(access_paths="@m"), "access_paths"),
        (text_of(module="my.module"), "clip_torch, clip_onnx"),
        (text_of(dtype="fp8"), "Inference.precision|precision"),
        (text_of("date: 2020-13-45"), "no YAML"),
        (text_of("host: 5"), "with.host: text is wanted, not 5"),
        (text_of("prefetch: 2020-02-02"), "with.prefetch: a whole number is wanted"),
        (text_of("ssl_certfile: 5"), "with.ssl_certfile: text"),
        (text_of("monitoring: true\n  port_monitoring: x"), "with.port_monitoring: .* not x"),
        (text_of("monitoring: true\n  port_monitoring:"), "with.port_monitoring: .* not None"),
        (text_of(name=None), "uses.with.name: no model is named"),
        (text_of(name=5), "uses.with.name: text"),
        (text_of(model_path=5), "uses.with.model_path: text"),
        (text_of(executor="replicas: 2020-02-02"), "replicas: a whole number"),
    ],
)
def test_what_cannot_be_followed_is_named(text: str, message: str) -> None:
    """Nothing starts otherwise than it is written."""
    with pytest.raises(ConfigError, match=message):
        config_of(text)


def test_each_key_is_told() -> None:
    """What is used, and what has no effect."""
    lines = understand(read_flow(text_of("cors: true")), machine()).lines

    assert "with.port: 51000" in lines
    assert "with.cors: without effect here" in lines


def test_the_presets_lie_where_the_command_looks() -> None:
    """In the package, as in CLIP-as-service."""
    assert CHECKOUT / "clip_server" == PRESETS


def test_a_host_for_flows_that_name_none() -> None:
    """In a container it is 0.0.0.0; a Flow's own host comes first."""
    there = machine()._replace(host="0.0.0.0")

    assert ("0.0.0.0", True) == tuple(
        config_of(text_of(), there)["Gateway"][key] for key in ("address", "open")
    )
    named = config_of(text_of(flow="host: 10.0.0.1"), there)
    assert "10.0.0.1" == named["Gateway"]["address"]
    assert "address" not in config_of(text_of())["Gateway"]
