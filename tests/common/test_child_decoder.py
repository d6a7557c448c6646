"""Decoding in child processes: a file that crashes or exhausts one fails alone (row 25, kind I)."""

import io
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest
from PIL import Image

from common.config import CHECKOUT
from common.errors import TooLarge, Unprocessable
from common.images import child_decoder
from common.images.decode import decode
from common.images.thread_decoder import decode_here
from devtools.services import wait_until
from tests.hostile_images import COSTLY

MAX_PIXELS = 50_000_000
READS_AND_WAITS = """
import sys, time
from pathlib import Path
from common.images.decode import decode
if __name__ == "__main__":
    decode(Path(sys.argv[1]).read_bytes(), 10**6)
    print("read", flush=True)
    time.sleep(600)
"""

LIMITED_ONCE = """
import os, sys
from pathlib import Path
from common.errors import TooLarge
from common.images import child_decoder
from common.images.decode import decode
if __name__ == "__main__":
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})  # one core, so one child
    short, long = (Path(name).read_bytes() for name in sys.argv[1:])
    most_bytes = child_decoder.MEMORY_BYTES
    child_decoder.LOST_S, child_decoder.MEMORY_BYTES = 20, 2**24
    try:
        decode(short, 50_000_000)
    except TooLarge:
        child_decoder.MEMORY_BYTES = most_bytes
        print(decode(long, 50_000_000).size)
"""


def saved(kind: str, side: int = 64) -> bytes:
    """A grey square."""
    buffer = io.BytesIO()
    Image.effect_noise((side, side), 64).save(buffer, kind)
    return buffer.getvalue()


def children(parent: int) -> list[psutil.Process]:
    """The processes that decode for a process."""
    return [child for child in psutil.Process(parent).children(recursive=True) if decodes(child)]


def own_workers() -> list[psutil.Process]:
    """The children of this process that decode, without the server that forks them."""
    return [child for child in children(os.getpid()) if child.ppid() != os.getpid()]


def decodes(process: psutil.Process) -> bool:
    """Whether a process is of those that decode, and has not ended."""
    try:
        return "forkserver" in " ".join(process.cmdline())
    except psutil.NoSuchProcess:  # also a zombie
        return False


def spent_s(process: psutil.Process) -> float:
    """The CPU time of a process; 0 if it has ended, as one of an earlier test may just then."""
    try:
        times = process.cpu_times()
    except psutil.NoSuchProcess:
        return 0.0
    return float(times.user + times.system)


@pytest.mark.parametrize("kind", ["TIFF", "AVIF", "HEIF", "JPEG2000"])
def test_a_child_gives_what_this_process_would(kind: str) -> None:
    """To the pixel; with `at_least`, no smaller than that."""
    data = saved(kind, 300)
    image = decode(data, MAX_PIXELS)
    own = decode_here(data, kind, MAX_PIXELS)
    assert (image.mode, image.size, image.tobytes()) == (own.mode, own.size, own.tobytes())
    assert 100 <= decode(data, MAX_PIXELS, at_least=100).width < 200


def test_errors_of_a_child_are_errors_here() -> None:
    """With their kind and their words."""
    with pytest.raises(TooLarge, match="64x64"):
        decode(saved("TIFF"), 100)
    with pytest.raises(Unprocessable, match="broken"):
        decode(saved("HEIF", 300)[:-2000], MAX_PIXELS)


def test_a_file_that_takes_too_long_ends_its_child_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Others, at the same time and later, are read."""
    large, small = saved("JPEG2000", 3000), saved("TIFF")
    decode(small, MAX_PIXELS)
    with ThreadPoolExecutor(2) as pool, monkeypatch.context() as patch:
        patch.setattr(child_decoder, "CPU_S", 0)
        late = pool.submit(decode, large, MAX_PIXELS)
        with pytest.raises(Unprocessable, match="too long"):
            late.result()
    assert decode(small, MAX_PIXELS).size == (64, 64)


def test_a_file_that_takes_too_much_memory_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """The child lives on."""
    monkeypatch.setattr(child_decoder, "MEMORY_BYTES", 2**24)
    with pytest.raises(TooLarge, match="memory"):
        decode(saved("TIFF", 6000), MAX_PIXELS)
    monkeypatch.undo()
    assert decode(saved("TIFF"), MAX_PIXELS).size == (64, 64)


def test_a_limit_ends_with_its_file(tmp_path: Path) -> None:
    """An only child lives on as it takes a longer file than it had memory for."""
    Image.new("L", (6000, 6000)).save(tmp_path / "short.tif", compression="tiff_deflate")
    (tmp_path / "long.tif").write_bytes(saved("TIFF", 6000))
    (tmp_path / "script.py").write_text(LIMITED_ONCE)
    names = [str(tmp_path / name) for name in ("script.py", "short.tif", "long.tif")]
    done = subprocess.run(
        [sys.executable, *names],
        env={**os.environ, "PYTHONPATH": str(CHECKOUT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.stdout, done.stderr) == ("(6000, 6000)\n", "")


def test_a_crash_is_the_file_s_fault() -> None:
    """As of a decoder that reads where it may not; the next file is read by a new child."""
    decode(saved("TIFF"), MAX_PIXELS)
    workers = own_workers()
    before_s = {child: spent_s(child) for child in workers}
    with ThreadPoolExecutor(1) as pool:
        reading = pool.submit(decode, saved("JPEG2000", 3000), MAX_PIXELS)
        wait_until(lambda: any(spent_s(child) - before_s[child] > 0.3 for child in workers))
        max(workers, key=lambda child: spent_s(child) - before_s[child]).send_signal(signal.SIGSEGV)
        with pytest.raises(Unprocessable, match="harmful"):
            reading.result()
    assert decode(saved("TIFF"), MAX_PIXELS).size == (64, 64)


def test_children_may_be_killed_while_they_wait() -> None:
    """As by a system that is short of memory: new ones take their place."""
    decode(saved("TIFF"), MAX_PIXELS)
    for child in own_workers():
        child.kill()
    assert decode(saved("TIFF"), MAX_PIXELS).size == (64, 64)


def test_a_file_that_no_child_takes_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if each child were lost while it receives a file; the next file is read."""
    decode(saved("TIFF"), MAX_PIXELS)
    workers = own_workers()
    monkeypatch.setattr(child_decoder, "LOST_S", 0.2)
    for child in workers:
        child.suspend()
    with pytest.raises(Unprocessable, match="too long"):
        decode(saved("TIFF"), MAX_PIXELS)
    for child in workers:
        child.resume()
    monkeypatch.undo()
    assert decode(saved("TIFF"), MAX_PIXELS).size == (64, 64)


def test_children_end_with_their_parent(tmp_path: Path) -> None:
    """Also when it is killed."""
    (tmp_path / "image").write_bytes(saved("TIFF"))
    (tmp_path / "script.py").write_text(READS_AND_WAITS)
    environment = {**os.environ, "PYTHONPATH": str(CHECKOUT)}
    command = [sys.executable, str(tmp_path / "script.py"), str(tmp_path / "image")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment) as parent:
        assert parent.stdout
        assert parent.stdout.readline() == b"read\n"
        decoding = children(parent.pid)
        assert decoding
        parent.kill()
    wait_until(lambda: not any(child.is_running() for child in decoding))


@pytest.mark.parametrize("make", [make for _, make in COSTLY.values()], ids=COSTLY)
def test_what_costs_much_is_decoded_in_a_child(make: Callable[[], bytes]) -> None:
    """Row 25, kind I: also of formats that are judged by their headers; the child gives way."""
    data = make()
    decode(saved("TIFF"), MAX_PIXELS)  # starts the children
    children_s, own_s = spent_of_children_s(), time.process_time()

    image = decode(data, MAX_PIXELS, 224)

    assert min(image.size) < 2 * 224
    assert time.process_time() - own_s < 0.05
    assert spent_of_children_s() > children_s
    workers = own_workers()
    assert {os.getpriority(os.PRIO_PROCESS, 0) + child_decoder.NICE} == {
        child.nice() for child in workers
    }


def spent_of_children_s() -> float:
    """The CPU time of all children, in seconds."""
    return sum(map(spent_s, children(os.getpid())))


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF", "BMP"])
def test_usual_images_are_decoded_here(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A screenshot of two megapixels and a photo of a phone need no other process."""
    monkeypatch.setattr("common.images.decode.decode_in_child", None)
    size = (4000, 3000) if kind == "JPEG" else (1200, 800) if kind == "GIF" else (1920, 1080)
    buffer = io.BytesIO()
    Image.new("L", size).save(buffer, kind)

    assert decode(buffer.getvalue(), MAX_PIXELS, 224).size[0] >= 224
