"""The model in a loop of its own, against the same model in the inference server over HTTP."""

import itertools
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import msgspec
import numpy as np

from benchmarks import drivers, generated
from benchmarks.drivers import Measured
from benchmarks.figures import Contender, Figure, Load, median_figure, ratio
from devtools.photos import photo
from benchmarks.rates import Tower
from benchmarks.runtimes import image_call, per_second
from common.config import Inference
from common.errors import ConfigError
from common.wire import MSGPACK, Matrix, encode
from inference.messages import EmbedRequest
from inference.clip.model import Model, load_model
from inference.clip.registry import find_model
from devtools.services import running, with_section

SECTION = "limits"
BATCHES = (8, 16, 32, 64)
TRY_S = 1.0
"""For each batch size, to find the best."""
SECONDS = 5
WARM_UP_S = 3
CONNECTIONS = 64
WIDE_S = {"text": 10, "image": 20}
"""With all connections, as wrk counts none of the requests that are under way at the end: they
are to be few beside the others."""
PHOTOS = 64
SMALLEST = 256
"""Pixels of the smallest photo's long side; the largest has 634."""
TOWERS: tuple[Tower, ...] = ("text", "image")


def contenders(settings: Inference, root: Path, folder: Path) -> list[Contender]:
    """The model `how.clip` in a loop and over HTTP, in batches and one by one; see `figures`.

    `folder` is for the files of the load.
    """
    found = []
    for tower in TOWERS:
        found += [
            bare_loop(tower, settings, root),
            Contender(
                f"{tower}, HTTP, {CONNECTIONS} connections",
                partial(_over_http, tower, CONNECTIONS, settings, root, folder),
            ),
            Contender(f"{tower}, in process", partial(_in_process, tower, settings, root)),
            Contender(
                f"{tower}, HTTP, 1 connection",
                partial(_over_http, tower, 1, settings, root, folder),
            ),
        ]
    return found


def figures(runs: Mapping[str, Sequence[Measured]]) -> list[Figure]:
    """What the runs of `embedding` say; of what could not be had, nothing."""
    found = []
    rates = {name: [one.requests_per_s for one in measured] for name, measured in runs.items()}
    for tower in TOWERS:
        bare, wide = f"{tower}, bare loop", f"{tower}, HTTP, {CONNECTIONS} connections"
        alone, single = f"{tower}, in process", f"{tower}, HTTP, 1 connection"
        if bare in runs and wide in runs:
            shares = ratio(rates, wide, bare)
            name = f"{tower}: HTTP at {CONNECTIONS} connections, of the bare loop"
            found += [
                median_figure(SECTION, bare, rates[bare], f"{tower}s/s"),
                median_figure(SECTION, wide, rates[wide], f"{tower}s/s"),
                median_figure(SECTION, name, shares, "ratio", at_least=0.85),
            ]
        if alone in runs and single in runs:
            pairs = zip(runs[single], runs[alone], strict=True)
            added = [there.p50_ms - here.p50_ms for there, here in pairs]
            name = f"{tower}: latency that HTTP adds at 1 connection"
            found.append(median_figure(SECTION, name, added, "ms", at_most=2))
    return found


def bare_loop(tower: Tower, settings: Inference, root: Path) -> Contender:
    """The tower at its best batch size; neither tokenizing nor decoding counts."""
    return Contender(f"{tower}, bare loop", partial(_bare_loop, tower, settings, root))


@contextmanager
def _bare_loop(tower: Tower, settings: Inference, root: Path) -> Iterator[Load]:
    model = _load(tower, settings, root)
    calls = {size: _call(model, tower, size) for size in BATCHES}
    rates = {}
    for size, call in calls.items():
        per_second(call, size, TRY_S)  # some runtimes prepare for each new shape
        rates[size] = per_second(call, size, TRY_S)
    best = max(rates, key=lambda size: rates[size])
    yield lambda: timed(calls[best], best, SECONDS)


def _load(tower: Tower, settings: Inference, root: Path) -> Model:
    model = load_model(settings.clip, settings, root, text=tower == "text", image=tower == "image")
    if not (model.text or model.image):
        raise ConfigError(f"model {model.name} embeds no {tower}s")
    return model


def _call(model: Model, tower: Tower, batch: int) -> Callable[[], object]:
    """What embeds the next `batch` prepared texts, or images of noise."""
    if model.image and tower == "image":
        return image_call(model.image, model.blank(), batch)
    text = model.text
    assert text is not None  # noqa: S101 of _load
    values = [text.prepare(query).value for query in itertools.islice(generated.queries(), 1024)]
    turns = itertools.cycle(values)
    return lambda: text.embed(list(itertools.islice(turns, batch)))


def timed(call: Callable[[], object], items: int, seconds: float) -> Measured:
    """Repeat a call for so long; the rate is that of the items in it, the times are the call's."""
    took_ms: list[float] = []
    began = ended = time.perf_counter()
    while not took_ms or ended - began < seconds:
        call()
        took_ms.append(1000 * (time.perf_counter() - ended))
        ended += took_ms[-1] / 1000
    p50, p99 = np.percentile(took_ms, (50, 99)).tolist()
    return Measured(items * len(took_ms) / (ended - began), p50, p99, 0)


@contextmanager
def _in_process(tower: Tower, settings: Inference, root: Path) -> Iterator[Load]:
    """One text or photo after the other, tokenizing and decoding included."""
    model = _load(tower, settings, root)
    texts, files = generated.queries(), itertools.cycle(_photos())

    def embed() -> Matrix:
        if tower == "text":
            return model.encode_text([next(texts)])
        return model.encode_images([next(files)])

    timed(embed, 1, WARM_UP_S)
    yield lambda: timed(embed, 1, SECONDS)


@contextmanager
def _over_http(
    tower: Tower, connections: int, settings: Inference, root: Path, folder: Path
) -> Iterator[Load]:
    """The inference server, sent one text, never the same, or one photo a request."""
    model = str(find_model(settings.clip, root))
    config = {"Inference": msgspec.to_builtins(settings)}
    config = with_section(config, "Inference", clip=model, mclip=None)
    config = with_section(config, "Inference", address="127.0.0.1", port=0)
    texts, files = generated.queries(), _photos() if tower == "image" else []

    def load(seconds: int) -> Measured:
        most = drivers.WRK_MAX_PER_SECOND * seconds
        sent = [EmbedRequest(images=[file]) for file in files] or (
            EmbedRequest(texts=[text]) for text in itertools.islice(texts, most)
        )
        url = f"http://{service.address}/predictions/clip"
        return drivers.wrk_bodies(
            url,
            map(encode, sent),
            folder,
            content_type=MSGPACK,
            connections=connections,
            seconds=seconds,
            again=tower == "image",
        )

    with running("inference/inference.py", config, cwd=folder) as service:
        load(WARM_UP_S)
        yield lambda: load(WIDE_S[tower] if connections > 1 else SECONDS)


def _photos() -> list[bytes]:
    return [photo(number, SMALLEST + 6 * number) for number in range(PHOTOS)]
