"""Measure images and texts a second of each runtime beside torch: python benchmarks/runtimes.py.

The models are that of the configuration and, where torch is installed, open_clip's architectures
with random weights, which are exported once to data/benchmarks. All runtimes of a model take
turns, so that what else the machine does meets all of them alike.
"""

import argparse
import gc
import itertools
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

if __package__ in (None, ""):  # run as a script: the checkout goes on the path, not this folder
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

import numpy as np
from msgspec.structs import replace

from benchmarks.rates import EAGER, Scenario, Tower, summarize, table
from benchmarks.report import RESULTS, write
from devtools.words import query
from common.config import Inference, load
from common.errors import ConfigError, MissingPackage
from common.process import argument_parser, run
from inference.clip.devices import count_gpus
from inference.clip.images import Pixels
from inference.clip.model_files import read_layout
from inference.clip.model import Model, load_model
from inference.clip.registry import find_model
from inference.clip.encoders import ImageTower, TokenTextTower

RUNTIMES = {
    "cpu": (
        ("torch", "fp32"),
        ("torch", "bf16"),
        ("onnxruntime", "fp32"),
        ("onnxruntime", "int8"),
        ("openvino", "fp32"),
        ("openvino", "bf16"),
        ("openvino", "int8"),
    ),
    "cuda": (
        ("torch", "fp32"),
        ("torch", "fp16"),
        ("torch", "bf16"),
        ("onnxruntime", "fp32"),
        ("onnxruntime", "fp16"),
        ("tensorrt", "fp16"),
    ),
}
COMPILED = ("torch-compile", "fp32")
SHOWN = {"torch": EAGER, "torch-compile": "torch compiled"}
TEXTS = 256
"""How many different texts are embedded: enough for every length that queries have."""

Call = Callable[[], object]


class Plan(NamedTuple):
    """What to measure of each model, and for how long."""

    runtimes: Sequence[tuple[str, str]]
    batches: Mapping[Tower, Sequence[int]]
    rounds: int
    seconds: float


def measure(plan: Plan, how: Inference, root: Path) -> dict[Scenario, list[float]]:
    """Items a second of the model `how.clip` in each scenario and round."""
    opened = dict(open_all(plan.runtimes, how, root))
    context = read_layout(find_model(how.clip, root)).config.text_cfg.context_length
    calls: dict[Scenario, Call] = {}
    for tower, batches in plan.batches.items():
        for batch in batches:
            for (runtime, precision), model in opened.items():
                shown = SHOWN.get(runtime, runtime)
                scenario = Scenario(model.name, shown, precision, tower, batch)
                calls |= make_calls(model, scenario, context)
    rates: dict[Scenario, list[float]] = {scenario: [] for scenario in calls}
    for number in range(plan.rounds + 1):
        print(f"  round {number} of {plan.rounds}", flush=True)
        for scenario, call in calls.items():
            rate = per_second(call, scenario.batch, plan.seconds)
            if number:  # round 0 warms up: some runtimes prepare for each new shape
                rates[scenario].append(rate)
    return rates


def open_all(
    runtimes: Sequence[tuple[str, str]], how: Inference, root: Path
) -> Iterator[tuple[tuple[str, str], Model]]:
    """The model in each runtime; for what cannot be had, print why."""
    for runtime, precision in runtimes:
        try:
            model = load_model(how.clip, replace(how, runtime=runtime, precision=precision), root)
        except ConfigError as error:
            print(f"  left out: {SHOWN.get(runtime, runtime)} {precision}: {error}", flush=True)
        else:
            yield (runtime, precision), model


def make_calls(model: Model, scenario: Scenario, context: int) -> dict[Scenario, Call]:
    """What embeds a batch of a scenario; for texts by torch eager also as open_clip pads them."""
    if scenario.tower == "image":
        if model.image is None:
            return {}
        return {scenario: image_call(model.image, model.blank(), scenario.batch)}
    if not isinstance(model.text, TokenTextTower):
        return {}
    texts: list[list[int]] = [model.text.prepare(query(number)).value for number in range(TEXTS)]
    calls = {scenario: text_call(model.text, texts, scenario.batch)}
    # M-CLIP, which alone has no image tower, pads to the longest text.
    if scenario == scenario.reference and model.image:
        full = [ids + [model.text.pad_id] * (context - len(ids)) for ids in texts]
        calls[replace(scenario, padded=True)] = text_call(model.text, full, scenario.batch)
    return calls


def image_call(tower: ImageTower, blank: Pixels, batch: int) -> Call:
    """What embeds `batch` images of noise, each as large as `blank`."""
    shape = (batch, *blank.shape)
    pixels = list(np.random.default_rng(0).standard_normal(shape, dtype=np.float32))
    return lambda: tower.embed(pixels)


def text_call(tower: TokenTextTower, texts: list[list[int]], batch: int) -> Call:
    """What embeds the next `batch` of the texts, round and round."""
    turns = itertools.cycle(texts)
    return lambda: tower.embed(list(itertools.islice(turns, batch)))


def per_second(call: Call, batch: int, seconds: float) -> float:
    """How many items a second a call embeds, when repeated for so long."""
    began, count, taken = time.perf_counter(), 0, 0.0
    while not count or taken < seconds:
        call()
        count, taken = count + 1, time.perf_counter() - began
    return count * batch / taken


def random_models(architectures: Sequence[str], folder: Path) -> list[str]:
    """The folder of each architecture's model, exported where it is not there yet."""
    found = []
    for architecture in architectures:
        path = folder / architecture
        try:
            if not path.is_dir():
                from devtools.random_model import export_random

                export_random(architecture, path, ["int8", "fp16"] if count_gpus() else ["int8"])
        except MissingPackage as error:
            print(f"left out: {architecture}: {error}", flush=True)
        else:
            found.append(str(path))
    return found


def image_limits(names: Sequence[str], root: Path, flop_per_s: float) -> dict[str, float]:
    """Of each model with torch's weights, the images a second that matmul at this rate allows."""
    from benchmarks.matmul import flop_per_image

    folders = {find_model(name, root) for name in names}
    costs = {folder.name: flop_per_image(folder) for folder in folders}
    return {name: flop_per_s / cost for name, cost in costs.items() if cost}


def card(device: str) -> dict[str, Any]:
    """What the settings say of an NVIDIA card; raises MissingPackage."""
    from benchmarks.matmul import device_name, matmul_flop_per_s

    return {"card": device_name(device), "matmul_fp16_flop_per_s": matmul_flop_per_s(device)}


def parse_arguments() -> argparse.Namespace:
    """The command line."""
    parser = argument_parser(__doc__)
    add = parser.add_argument
    add("--device", choices=tuple(RUNTIMES), default="cpu")
    add("--model", action="append", default=[], metavar="NAME", help="another model, or its folder")
    add(
        "--architecture",
        action="append",
        metavar="NAME",
        help="of open_clip, with random weights (default: ViT-B-32); may be repeated",
    )
    add("--compile", action="store_true", help="torch.compile, too: it takes minutes")
    add("--image-batches", type=int, nargs="+", default=[1, 8, 32], metavar="N")
    add("--text-batches", type=int, nargs="+", default=[1, 8, 64], metavar="N")
    add("--rounds", type=int, default=5, metavar="N", help="of which the medians count")
    add("--seconds", type=float, default=0.5, metavar="S", help="for each figure and round")
    add("--results", type=Path, default=RESULTS, metavar="FOLDER", help="where the file goes")
    arguments = parser.parse_args()
    if min(arguments.rounds, *arguments.image_batches, *arguments.text_batches) < 1:
        parser.error("every number is 1 at least")
    return arguments


def main() -> None:
    """Measure, print the table and write the result file."""
    arguments = parse_arguments()
    loaded = load(arguments.config)
    names = [loaded.config.inference.clip, *arguments.model]
    for name in names:
        find_model(name, loaded.root)  # before minutes go by
    architectures = arguments.architecture or ["ViT-B-32"]
    names += random_models(architectures, loaded.path("data/benchmarks"))
    plan = Plan(
        (*RUNTIMES[arguments.device], *[COMPILED] * arguments.compile),
        {"image": arguments.image_batches, "text": arguments.text_batches},
        arguments.rounds,
        arguments.seconds,
    )
    settings: dict[str, Any] = {**plan._asdict(), "load_average_before": os.getloadavg()}
    limits: dict[str, float] = {}
    if arguments.device == "cuda":
        settings |= card(arguments.device)
        limits = image_limits(names, loaded.root, settings["matmul_fp16_flop_per_s"])
    how = replace(loaded.config.inference, device=arguments.device, replicas=1)
    rates: dict[Scenario, list[float]] = {}
    for name in names:
        print(name, flush=True)
        rates |= measure(plan, replace(how, clip=name), loaded.root)
        gc.collect()  # the next model needs the memory
    results = summarize(rates, limits)
    config = replace(loaded.config, inference=how)
    kind = f"runtimes-{arguments.device}"
    print(f"\n{table(results)}\n\n{write(kind, results, settings, config, arguments.results)}")


if __name__ == "__main__":
    run(main)
