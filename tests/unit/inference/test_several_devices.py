"""Towers on several kinds of device, which stand-ins on the CPU play."""

import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from common.config import Inference
from common.cores import usable_cores
from common.wire import unpack_rows
from devtools.tiny_model import SIZE, write_tiny_model
from inference.clip import devices, session
from inference.clip.devices import Device
from inference.clip.encoders import SessionPool
from inference.clip.model import Model, load_model
from inference.clip.session import Session, SessionOptions, open_sessions
from inference.messages import EmbedRequest
from inference.runtimes.onnx_runtime import OnnxSession
from inference.runtimes.openvino_runtime import OpenVinoSession
from inference.served_model import ServedModel

TEXTS = [f"a {colour} square" for colour in ("red", "green", "blue", "red blue")] * 50
GPUS = 2


class StandIn(OnnxSession):
    """A session of ONNX Runtime on the CPU, in place of a GPU."""

    def __init__(self, path: Path, options: SessionOptions) -> None:
        super().__init__(path, options._replace(device=Device("cpu")))
        self.device, self._given = options.device, (path, options)

    def replica(self) -> "StandIn":
        return StandIn(*self._given)


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[SessionOptions]:
    """How sessions are opened: stand-ins are the GPUs, and OpenVINO is the CPU."""
    found: list[SessionOptions] = []

    def open_one(path: Path, _runtime: str, options: SessionOptions) -> Session:
        found.append(options)
        return (OpenVinoSession if options.device.kind == "cpu" else StandIn)(path, options)

    monkeypatch.setattr(devices, "count_gpus", lambda: GPUS)
    monkeypatch.setattr(session, "_open", open_one)
    return found


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_tiny_model(tmp_path / "tiny")


def test_a_list_opens_replicas_on_each_device(folder: Path, opened: list[SessionOptions]) -> None:
    """The one on the CPU has all cores: those on GPUs take none of them."""
    wanted = Inference(device=("RR", "cpu"), replicas=5)
    sessions = open_sessions(folder / "visual/model.onnx", wanted)
    pool = SessionPool(sessions)

    names = [("cuda", 0), ("cuda", 1), ("cpu", 0), ("cuda", 0), ("cuda", 1)]
    assert [Device(*name) for name in names] == [one.device for one in sessions]
    assert {"cuda": 4, "cpu": 1} == pool.replicas
    assert ["cuda", "cpu"] == list(pool.replicas)
    assert [2, 2, 1] == [one.replicas for one in opened]
    assert {usable_cores()} == {options.threads for options in opened}


class Busy:
    """A session that is busy until it is let go."""

    inputs, outputs = (session.Input("image", (None, 1), np.float32),), ("rows",)

    def __init__(self, kind: str, number: int, ran: list[Device]) -> None:
        self.device, self.ran = Device(kind, number), ran
        self.go = threading.Event()
        self.entered = threading.Event()

    def run(self, _feed: Any, _output: int = 0) -> Any:
        self.ran.append(self.device)
        self.entered.set()
        assert self.go.wait(10)


def test_a_call_for_a_kind_waits_for_that_kind() -> None:
    """Though another is idle, which then serves who asks for any kind; sessions take turns."""
    ran: list[Device] = []
    cuda, other, cpu = Busy("cuda", 0, ran), Busy("cuda", 1, ran), Busy("cpu", 0, ran)
    pool: Any = SessionPool([cuda, other, cpu])  # type: ignore[list-item]
    with ThreadPoolExecutor(3) as threads:
        first = threads.submit(pool.run, {}, kind="cpu")
        assert cpu.entered.wait(10)
        second = threads.submit(pool.run, {}, kind="cpu")
        cuda.go.set()
        pool.run({})
        assert not second.done()
        other.go.set()
        pool.run({}, kind="cuda")
        pool.run({}, kind="cuda")
        cpu.go.set()
        first.result(10)
        second.result(10)

    assert Counter({cuda.device: 2, other.device: 1, cpu.device: 2}) == Counter(ran)
    assert [cpu.device, cuda.device, other.device, cuda.device] == ran[:4]


@pytest.fixture
def model(folder: Path, opened: list[SessionOptions]) -> Model:
    """A model on a GPU and on a CPU of two replicas; each replica is warm."""
    wanted = Inference(device=("cuda", "cpu"), threads=1, replicas=0)
    one = load_model(str(folder), wanted)
    assert [Device("cuda"), Device("cpu")] * 2 == [options.device for options in opened]
    one.warm()
    return one


@pytest.fixture
def ran(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How many inputs ran on each kind of device."""
    found: Counter[str] = Counter()
    lock = threading.Lock()
    for kind in (OnnxSession, OpenVinoSession):
        monkeypatch.setattr(kind, "run", counting(kind.run, found, lock))
    return found


def counting(run: Any, found: Counter[str], lock: Any) -> Any:
    def run_and_count(self: Any, feed: Any, output: int = 0) -> Any:
        with lock:
            found[self.device.kind] += len(next(iter(feed.values())))
        return run(self, feed, output)

    return run_and_count


def test_each_replica_of_each_kind_is_warmed(folder: Path, ran: Counter[str], model: Model) -> None:
    """For texts and for images, with one and with two."""
    del folder
    assert model.text is not None
    assert {kind: 2 * (1 + 2) * count for kind, count in model.text.replicas.items()} == ran


def test_all_devices_embed_alike_from_one_queue(model: Model, ran: Counter[str]) -> None:
    """Many texts at once: both kinds take some, and each row is that of its own text."""
    expected = model.encode_text(TEXTS)
    ran.clear()
    pool = ThreadPoolExecutor(2)
    settings = Inference(max_batch=4)
    served = ServedModel("clip", model, "space", settings, pool)
    going = [served.begin(EmbedRequest(texts=TEXTS)) for _ in range(4)]
    served.start()
    replies = [reply() for reply in going]
    pixels = [np.zeros((3, SIZE, SIZE), np.float32)]
    assert model.image is not None
    assert model.text is not None
    by_kind = [model.image.embed(pixels, kind) for kind in ("cuda", "cpu")]
    served.close()
    pool.shutdown()

    for reply in replies:
        assert {} == reply.problems
        assert sum(model.text.replicas.values()) == reply.replicas
        np.testing.assert_allclose(unpack_rows(reply.rows, reply.dim), expected, atol=1e-4)
    np.testing.assert_allclose(by_kind[0], by_kind[1], atol=1e-4)
    assert min(ran["cuda"], ran["cpu"]) > 1  # an image each, and texts
    assert 4 * len(TEXTS) + 2 == sum(ran.values())
