"""A Flow of CLIP-as-service, in YAML, as a configuration of ours."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import yaml

from common.errors import ConfigError
from inference.clip.catalogue import image_partner

Fields = dict[str, Any]
GRPC_PORT, FLOW_METRICS, EXECUTOR_METRICS = 51000, 9090, 9091
"""The ports that CLIP-as-service takes where a Flow names none."""
RUNTIMES = {"clip_torch": "torch", "clip_onnx": "onnxruntime", "clip_tensorrt": "tensorrt"}
"""By the last part of `py_modules`, a dotted name or a path."""
WITHOUT_EFFECT = {
    "version", "with.cors", "with.timeout_ready", "with.env",
    "executors[0].name", "executors[0].timeout_ready", "executors[0].uses.jtype",
}  # fmt: skip
"""Keys that change nothing that a client of CLIP-as-service sees."""
WANTED = {str: "text", int: "a whole number"}


class Machine(NamedTuple):
    """What the place of a Flow decides."""

    gpus: int
    has_torch: bool
    visible_devices: str
    """CUDA_VISIBLE_DEVICES, for its `RR`."""
    free_port: Callable[[], int]
    host: str | None = None
    """Where a Flow listens that names no host; None: on the loopback, as our gateway does."""


class Understood(NamedTuple):
    """The configuration, and what became of each key of the Flow."""

    config: Fields
    lines: list[str]


def read_flow(text: str) -> Fields:
    """The keys of a Flow by their paths; raises ConfigError for other YAML."""
    try:
        flow = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError) as error:  # ValueError: a date that is none
        raise ConfigError(f"this is no YAML: {error}") from None
    if not isinstance(flow, dict) or flow.pop("jtype", None) != "Flow":
        raise ConfigError(
            "this is no Flow (jtype: Flow); for a config.json:"
            " python -m common.supervisor --config config.json"
        )
    executors = flow.get("executors")
    if not (isinstance(executors, list) and [dict] == [type(executor) for executor in executors]):
        raise ConfigError("a Flow must have one executor, CLIPEncoder: all models run behind it")
    return dict(_flat("", flow))


def understand(flow: Fields, machine: Machine) -> Understood:
    """The configuration for a Flow; raises ConfigError that names each key that is not known."""
    keys = dict(flow)
    used: dict[str, Any] = {}

    def take(path: str, default: Any = None, kind: type = object) -> Any:
        if path in keys:
            used[path] = keys[path]
        found = keys.pop(path, default)
        if not isinstance(found, kind) and found is not None:
            raise ConfigError(f"{path}: {WANTED[kind]} is wanted, not {found}")
        return found

    gateway = _gateway(take, machine)
    inference = _inference(take, machine)
    if _is_mclip(inference):
        gateway["text-model"] = "mclip"
    ignored = sorted(path for path in keys if _matches(path, WITHOUT_EFFECT))
    unknown = sorted(set(keys) - set(ignored))
    if unknown:
        raise ConfigError(
            f"this Flow has keys that clip-search cannot follow: {', '.join(unknown)}"
        )
    config = {
        "Gateway": gateway,
        "Inference": inference,
        "Middle": {"port": machine.free_port()},
        "Search": {"server-list": []},
    }
    lines = [f"{path}: {value}" for path, value in used.items()]
    lines += [f"{path}: without effect here" for path in ignored]
    return Understood(config, lines)


def _gateway(take: Callable[..., Any], machine: Machine) -> Fields:
    protocols = [str(name).lower() for name in _listed(take("with.protocol", "grpc"))]
    grpc, http = _ports(protocols, _listed(take("with.port", GRPC_PORT)))
    found: Fields = {"protocols": protocols, "port": grpc}
    found["http-port"] = machine.free_port() if http is None else http
    if (host := take("with.host", machine.host, str)) is not None:
        found |= {"address": host, "open": True}
    for key, ours, kind in (
        ("prefetch", "prefetch", int),
        ("ssl_certfile", "tls-cert", str),
        ("ssl_keyfile", "tls-key", str),
    ):
        if (value := take(f"with.{key}", kind=kind)) is not None:
            found[ours] = value
    found["metrics-port"] = _metrics(take, "with", FLOW_METRICS)
    return found


def _ports(protocols: list[str], ports: list[Any]) -> tuple[int, int | None]:
    """The port of gRPC, and the one of HTTP and WebSocket if there is any; raises ConfigError."""
    if len(ports) not in (1, len(protocols)) or {int} != {type(port) for port in ports}:
        raise ConfigError("with.port: name one port, or one for each protocol in with.protocol")
    first = ports[0]
    if len(ports) == 1:
        after_grpc = first + 1 if "grpc" in protocols else first
        ports = [first if name == "grpc" else after_grpc for name in protocols]
    by_protocol = dict(zip(protocols, ports, strict=True))
    grpc = by_protocol.pop("grpc", first)
    if len(set(by_protocol.values())) > 1:
        raise ConfigError("with.port: HTTP and WebSocket share a port here: name the same for both")
    return grpc, next(iter(by_protocol.values()), None)


def _inference(take: Callable[..., Any], machine: Machine) -> Fields:
    base, settings = "executors[0]", "executors[0].uses.with"
    runtime = _runtime(take(f"{base}.uses.metas.py_modules", ["clip_torch"]), machine)
    device = take(f"{settings}.device", kind=str) or ("cuda" if machine.gpus else "cpu")
    if machine.visible_devices.startswith("RR"):
        device = machine.visible_devices
    dtype = take(f"{settings}.dtype", kind=str)
    if dtype is None:
        dtype = "fp16" if runtime == "torch" and device != "cpu" else "fp32"
    if take(f"{settings}.jit") and runtime == "torch":
        runtime = "torch-compile"
    name = take(f"{settings}.name", "ViT-B-32::openai", str)
    if not name:
        raise ConfigError(f"{settings}.name: no model is named")
    found: Fields = {"runtime": runtime, "device": device, "precision": dtype}
    found["port"] = machine.free_port()
    partner = image_partner(name)
    found |= {"clip": partner, "mclip": name} if partner else {"clip": name, "mclip": None}
    for key, ours, kind in (
        (f"{settings}.model_path", "clip", str),
        (f"{settings}.minibatch_size", "max-batch", int),
        (f"{settings}.num_worker_preprocess", "decode-threads", int),
        (f"{base}.replicas", "replicas", int),
    ):
        if (value := take(key, kind=kind)) is not None:
            found[ours] = value
    if take(f"{settings}.access_paths", "@r") != "@r":
        raise ConfigError(
            f"{settings}.access_paths: only @r, the documents themselves, is embedded"
        )
    found["metrics-port"] = _metrics(take, base, EXECUTOR_METRICS)
    return found


def _runtime(modules: Any, machine: Machine) -> str:
    names = [str(name).replace("/", ".").removesuffix(".py").rpartition(".")[2] for name in
             _listed(modules)]  # fmt: skip
    if len(names) != 1 or names[0] not in RUNTIMES:
        known = ", ".join(RUNTIMES)
        raise ConfigError(f"executors[0].uses.metas.py_modules: one of {known}, not {names}")
    runtime = RUNTIMES[names[0]]
    return "onnxruntime" if runtime == "torch" and not machine.has_torch else runtime


def _metrics(take: Callable[..., Any], place: str, usual: int) -> int | None:
    port = take(f"{place}.port_monitoring", usual)
    try:
        return int(port) if take(f"{place}.monitoring", False) else None
    except (TypeError, ValueError, OverflowError):
        raise ConfigError(f"{place}.port_monitoring: a port is wanted, not {port}") from None


def _is_mclip(inference: Mapping[str, Any]) -> bool:
    return inference["mclip"] is not None


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _matches(path: str, known: set[str]) -> bool:
    """Whether a path or what it is below is known."""
    return any(path == key or path.startswith(f"{key}.") for key in known)


def _flat(start: str, value: Any) -> list[tuple[str, Any]]:
    """The leaves of nested objects, by their paths; a list is a leaf, but for executors."""
    found: list[tuple[str, Any]] = []
    for name, below in value.items():
        path = f"{start}{name}"
        if path == "executors":
            found += _flat("executors[0].", below[0])
        elif isinstance(below, dict):
            found += _flat(f"{path}.", below)
        else:
            found.append((path, below))
    return found
