"""What runs a session: the same numbers, whichever it is."""

import os
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from common.config import Inference
from common.errors import ConfigError
from devtools.tiny_model import DIM, SIZE, write_tiny_model
from inference.clip import devices, session
from inference.clip.devices import Device
from inference.clip.session import (
    CACHED_BYTES,
    Session,
    SessionOptions,
    batch_size,
    chosen_devices,
    cpu_replicas,
    open_sessions,
)
from inference.runtimes import onnx_runtime
from inference.runtimes.onnx_runtime import OnnxSession
from inference.runtimes.openvino_runtime import OpenVinoSession


def execution(kind: Any = "cpu", precision: str = "fp32") -> SessionOptions:
    return SessionOptions(Device(kind, 0), 1, precision)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """The image tower of a small model."""
    return write_tiny_model(tmp_path / "tiny") / "visual/model.onnx"


def images() -> np.ndarray:
    pixels: np.ndarray = np.random.default_rng(0).random((3, 3, SIZE, SIZE), np.float32)
    return pixels


def test_a_network_says_what_it_takes_and_gives(path: Path) -> None:
    """Any number of images, a row for each."""
    session = OnnxSession(path, execution())
    (image,) = session.inputs

    assert (image.name, image.shape) == ("image", (None, 3, SIZE, SIZE))
    assert session.run({"image": images()}).shape == (3, DIM)


def test_what_a_network_takes_must_be_numbers_that_we_give(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of another kind none is made here, so the start ends with one line."""
    monkeypatch.delitem(onnx_runtime.DTYPES, "tensor(float)")
    with pytest.raises(ConfigError, match=r"model\.onnx takes tensor\(float\)"):
        OnnxSession(path, execution())


def test_openvino_computes_the_same(path: Path) -> None:
    """Up to rounding."""
    other = OpenVinoSession(path, execution()).run({"image": images()})
    own = OnnxSession(path, execution()).run({"image": images()})
    np.testing.assert_allclose(other, own, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("runtime", ["onnxruntime", "openvino"])
def test_replicas_compute_at_the_same_time_on_any_core(path: Path, runtime: Any) -> None:
    """OpenVINO would pin the threads that call it, while they compute, all to the first core."""
    sessions = open_sessions(path, Inference(runtime=runtime, replicas=2, threads=1))
    pixels = np.repeat(images(), 100, axis=0)
    expected = OnnxSession(path, execution()).run({"image": pixels})
    both = threading.Barrier(len(sessions))
    threads: list[int] = []

    def compute(session: Session) -> None:
        threads.append(threading.get_native_id())
        for _ in range(20):
            both.wait(30)
            rows = session.run({"image": pixels})
            np.testing.assert_allclose(rows, expected, rtol=1e-3, atol=1e-3)

    allowed = set()
    with ThreadPoolExecutor(len(sessions)) as pool:
        computing = [pool.submit(compute, session) for session in sessions]
        while not all(future.done() for future in computing):
            allowed |= {frozenset(os.sched_getaffinity(thread)) for thread in threads}
        for future in computing:
            future.result()
    assert {frozenset(os.sched_getaffinity(0))} == allowed


@pytest.mark.parametrize(
    ("how", "told"),
    [
        (execution(precision="bf16"), "no bf16"),
        (execution("gpu"), "does not run on gpu"),
        (execution("cuda"), "no CUDAExecutionProvider"),
    ],
)
def test_what_cannot_be_had_is_told(path: Path, how: SessionOptions, told: str) -> None:
    """At the start, not at the first request."""
    with pytest.raises(ConfigError, match=told):
        OnnxSession(path, how)


def test_a_file_that_is_no_network_is_named(tmp_path: Path) -> None:
    """With what the runtime says of it."""
    path = tmp_path / "model.onnx"
    path.write_bytes(b"nonsense")
    with pytest.raises(ConfigError, match=r"model\.onnx"):
        OnnxSession(path, execution())


@pytest.mark.parametrize(
    ("cores", "threads", "replicas"),
    [(1, 0, 1), (2, 0, 2), (4, 0, 4), (8, 0, 4), (16, 0, 4), (64, 0, 16), (2, 4, 1), (8, 1, 8)],
)
def test_the_replicas_of_a_cpu_share_its_cores(cores: int, threads: int, replicas: int) -> None:
    """On few cores each replica has one thread; given threads are kept."""
    assert cpu_replicas(threads, cores) == replicas


@pytest.mark.parametrize(
    ("weights", "device", "expected"),
    [(CACHED_BYTES, "cpu", 4), (CACHED_BYTES + 1, "cpu", 16), (9, "cuda:0,1", 32), (9, "gpu", 32)],
)
def test_the_size_of_a_batch_is_that_of_the_network(
    tmp_path: Path, weights: int, device: str, expected: int
) -> None:
    """With its separate weights, without other precisions, and by no clock."""
    path = tmp_path / "model.onnx"
    path.write_bytes(b"graph")
    (tmp_path / "model.int8.onnx").write_bytes(bytes(10))
    with (tmp_path / "model.onnx.data").open("wb") as separate:
        separate.truncate(weights - len(b"graph"))

    assert expected == batch_size(path, Inference(device=device))


@pytest.mark.parametrize(
    ("gpus", "has_cuda", "runtime", "expected"),
    [
        (3, True, "onnxruntime", [("cuda", 0)]),
        (3, True, "tensorrt", [("cuda", 0)]),
        (3, False, "onnxruntime", [("cpu", 0)]),
        (0, True, "onnxruntime", [("cpu", 0)]),
        (3, True, "openvino", [("cpu", 0)]),
    ],
)
def test_auto_is_the_first_gpu_where_the_runtime_can_use_it(
    monkeypatch: pytest.MonkeyPatch,
    path: Path,
    gpus: int,
    has_cuda: bool,
    runtime: Any,
    expected: list[tuple[str, int]],
) -> None:
    """Several GPUs, none, or a runtime that is built for the CPU alone."""
    opened: list[Device] = []
    monkeypatch.setattr(devices, "count_gpus", lambda: gpus)
    monkeypatch.setattr(session, "count_gpus", lambda: gpus)
    monkeypatch.setattr(onnx_runtime, "HAS_CUDA", has_cuda)
    monkeypatch.setattr(
        session, "_open", lambda _path, _runtime, options: opened.append(options.device)
    )
    settings = Inference(runtime=runtime, threads=os.cpu_count() or 1)
    open_sessions(path, settings)

    assert opened == [Device(*one) for one in expected]
    assert chosen_devices(settings) == [expected[0][0]]
    assert batch_size(path, settings) == (32 if expected[0][0] == "cuda" else 4)
    assert chosen_devices(Inference(device=("RR0:2", "cpu"))) == ["RR0:2", "cpu"]
