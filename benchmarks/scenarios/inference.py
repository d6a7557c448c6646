"""The model in a loop in this process, beside the same model in the inference server."""

import itertools
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Literal

import numpy as np

from benchmarks import report
from benchmarks.plan import Plan, queries
from benchmarks.report import Figure
from benchmarks.turns import Contender, Load, take_turns
from common.errors import ConfigError
from common.wire import MSGPACK, encode
from devtools import loads
from devtools.loads import Measured
from devtools.photos import photo
from devtools.services import running
from inference.clip.encoders import ImageTower, TextTower
from inference.clip.images import Pixels
from inference.clip.model import Model
from inference.messages import EmbedRequest

Tower = Literal["text", "image"]
TOWERS: tuple[Tower, ...] = ("text", "image")
LOOP = "limit: {}s in a loop"
WAYS = (LOOP, "{}s over HTTP, 64 clients", "{}s in process, one by one", "{}s over HTTP, 1 client")
BATCHES = (4, 8, 16, 32, 64)
SHARES: dict[Tower, float] = {"text": 0.7, "image": 0.85}  # of the loop, over HTTP
TEXTS = 1024
PHOTOS = 64
SMALLEST = 256  # pixels of the smallest photo's long side; the largest has 634


def measure(plan: Plan) -> list[Figure]:
    """Each tower in a loop and over HTTP, with batches and without."""
    contenders: list[Contender] = []
    for tower in TOWERS:
        http, alone = partial(_over_http, plan, tower), partial(_in_process, plan, tower)
        starts = (partial(_in_a_loop, plan, tower), partial(http, 64), alone, partial(http, 1))
        names = (way.format(tower) for way in WAYS)
        contenders += map(Contender, names, starts)
    runs = take_turns(contenders, plan.rounds, plan.idle_s)
    found = report.figures("inference", runs, "texts or images/s")
    for tower in TOWERS:
        loop, wide, in_process, single = (way.format(tower) for way in WAYS)
        found += report.ratio("inference", runs, wide, loop, SHARES[tower])
        if single in runs and in_process in runs:
            pairs = zip(runs[single], runs[in_process], strict=True)
            added = [there.p50_ms - here.p50_ms for there, here in pairs]
            found.append(report.median("inference", single, "ms that HTTP adds", added, at_most=2))
    return found


def text_loop(plan: Plan) -> Contender:
    """The text tower in a loop, at its best batch size, without tokenizing."""
    return Contender(LOOP.format("text"), partial(_in_a_loop, plan, "text"))


@contextmanager
def _in_a_loop(plan: Plan, tower: Tower) -> Iterator[Load]:
    repeat = fastest(_load(plan, tower), tower, plan.seconds / 8)
    yield lambda: repeat(plan.seconds)


def _load(plan: Plan, tower: Tower) -> Model:
    return plan.load(text=tower == "text", image=tower == "image")


def fastest(model: Model, tower: Tower, seconds: float) -> Callable[[float], Measured]:
    """A loop for some seconds, on all replicas, with the fastest of BATCHES: tried for `seconds`"""
    calls: dict[int, Callable[[], object]]
    replicas = 1
    if tower == "image" and model.image:
        replicas = sum(model.image.replicas.values())
        calls = {size: image_call(model.image, model.blank(), size) for size in BATCHES}
    elif tower == "text" and (text := model.text):
        replicas = sum(text.replicas.values())
        values = [text.prepare(query).value for query in itertools.islice(queries(), TEXTS)]
        calls = {size: text_call(text, values, size) for size in BATCHES}
    else:
        raise ConfigError(f"model {model.name} embeds no {tower}s")
    loops, rates = {}, {}
    for size, call in calls.items():
        call()  # some runtimes compile for each new shape
        loops[size] = partial(loads.loop, call, size, threads=replicas)
        rates[size] = loops[size](seconds).rate
    return loops[max(rates, key=lambda size: rates[size])]


def image_call(tower: ImageTower, blank: Pixels, batch: int) -> Callable[[], object]:
    """A call that embeds `batch` images of noise, each as large as `blank`."""
    shape = (batch, *blank.shape)
    pixels = list(np.random.default_rng(0).standard_normal(shape, dtype=np.float32))
    return lambda: tower.embed(pixels)


def text_call(tower: TextTower, values: Sequence[object], batch: int) -> Callable[[], object]:
    """A call that embeds the next `batch` of prepared texts, in a cycle."""
    turns = itertools.cycle(values)
    return lambda: tower.embed(list(itertools.islice(turns, batch)))


@contextmanager
def _in_process(plan: Plan, tower: Tower) -> Iterator[Load]:
    """Texts or photos one by one, with tokenizing and decoding."""
    model, texts, files = _load(plan, tower), queries(), itertools.cycle(_photos())

    def embed() -> object:
        if tower == "text":
            return model.encode_text([next(texts)])
        return model.encode_images([next(files)])

    loads.loop(embed, 1, plan.seconds / 2)
    yield lambda: loads.loop(embed, 1, plan.seconds)


@contextmanager
def _over_http(plan: Plan, tower: Tower, clients: int) -> Iterator[Load]:
    """The inference server; a request has one new text or one photo."""
    texts = (encode(EmbedRequest(texts=[text])) for text in queries())
    photos = [encode(EmbedRequest(images=[file])) for file in _photos()]
    is_image = tower == "image"

    def send(seconds: float) -> Measured:
        url, sent = f"http://{service.address}/predictions/clip", photos if is_image else texts
        wrk = partial(loads.wrk, content_type=MSGPACK, clients=clients, again=is_image)
        return wrk(url, sent, plan.folder, seconds)

    with running("inference/inference.py", plan.services(), cwd=plan.folder) as service:
        loads.warm_up(send, plan.seconds)
        # wrk leaves out requests in flight at the end: a longer load keeps their share small
        yield lambda: send(2 * plan.seconds if is_image else plan.seconds)


def _photos() -> list[bytes]:
    return [photo(number, SMALLEST + 6 * number) for number in range(PHOTOS)]
