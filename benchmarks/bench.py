"""Everything that is measured, in one run: python benchmarks/bench.py [--only SECTION,...].

One model, ViT-B-32 with random weights, one machine, and everything that is compared takes turns.
"""

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

if __package__ in (None, ""):  # run as a script: the checkout goes on the path, not this folder
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

from msgspec.structs import replace

from benchmarks import (
    compact,
    drivers,
    embedding,
    generated,
    growth,
    open_loop,
    peers,
    preparing,
    searching,
    workers,
)
from benchmarks.baseline.contender import baseline
from benchmarks.figures import Figure, table, take_turns
from benchmarks.report import write
from common.config import Loaded, load
from common.errors import ConfigError
from common.process import argument_parser, run
from inference.clip.model import load_model

VECTORS = 100_000


class Plan(NamedTuple):
    """What a run is made with."""

    loaded: Loaded
    rounds: int
    open_loop_s: float
    folder: Path


def measure_search(plan: Plan) -> list[Figure]:
    """Ours, others and the limits in turn; then latency at fixed rates of ours."""
    loaded, folder = plan.loaded, plan.folder
    model = load_model(loaded.config.inference.clip, loaded.config.inference, loaded.root)
    collection = generated.generate(model, VECTORS, loaded.path(generated.FOLDER))
    truth = generated.read_vectors(collection)
    texts = generated.queries()
    bench = searching.Searching(loaded, model, collection, truth, folder, texts)
    others = [
        baseline(peers.MODEL, truth, searching.MANY, folder / "baseline"),
        peers.clip_as_service(peers.SOURCE, peers.MODEL, folder),
        peers.clip_retrieval(peers.SOURCE, peers.MODEL, truth, folder),
    ]
    with searching.contenders(bench, others) as started:
        pids, began = open_loop.processes(started.many), time.monotonic()
        with open_loop.watching(pids) as samples:
            runs = take_turns(started.contenders, plan.rounds)
            peak = min(one.requests_per_s for one in runs[searching.ours_name(searching.MANY)])
            answers = open_loop.Truth(truth, model)
            late = open_loop.measure(started.many, peak, plan.open_loop_s, texts, answers)
        busy_s = bench.busy_since - began
        return [*searching.figures(runs, bench.recalls), *late, open_loop.memory(samples, busy_s)]


def measure_inference(plan: Plan) -> list[Figure]:
    """Inference over HTTP beside the model alone."""
    loaded = plan.loaded
    turns = embedding.contenders(loaded.config.inference, loaded.root, plan.folder)
    return embedding.figures(take_turns(turns, plan.rounds))


def measure_prepare(plan: Plan) -> list[Figure]:
    """Embedding and indexing."""
    how = plan.loaded.config.inference
    return preparing.measure(how.clip, how, plan.folder)


SECTIONS: dict[str, Callable[[Plan], list[Figure]]] = {
    "search": measure_search,
    "inference": measure_inference,
    "prepare": measure_prepare,
    "growth": lambda plan: growth.measure(plan.loaded, plan.folder),
    "compact": lambda _: compact.measure(),
    "workers": lambda _: workers.measure(rounds=1),
}


def parse_arguments() -> argparse.Namespace:
    """The command line."""
    parser = argument_parser(__doc__)
    add = parser.add_argument
    add("--only", metavar="SECTION,...", help=f"of {', '.join(SECTIONS)} (default: all)")
    add("--runtime", default="openvino", help="of the model (default: openvino)")
    add("--precision", default="bf16", help="of the model (default: bf16)")
    add("--rounds", type=int, default=2, metavar="N", help="of which the medians count")
    add("--open-loop-seconds", type=float, default=45, metavar="S", help="at each of four rates")
    arguments = parser.parse_args()
    arguments.only = arguments.only.split(",") if arguments.only else list(SECTIONS)
    if unknown := set(arguments.only) - set(SECTIONS):
        parser.error(f"no such section: {', '.join(sorted(unknown))}")
    return arguments


def measure(sections: Sequence[str], plan: Plan) -> list[Figure]:
    """The figures of some sections; of one that cannot be had here the reason is printed."""
    figures: list[Figure] = []
    for name in sections:
        began = time.monotonic()
        print(f"== {name}", flush=True)
        try:
            figures += SECTIONS[name](plan)
        except ConfigError as error:
            print(f"left out: {name}: {error}", flush=True)
        print(f"   took {time.monotonic() - began:.0f} s", flush=True)
    return figures


def main() -> None:
    """Measure, print the table and write the result file."""
    arguments = parse_arguments()
    drivers.require_programs()
    given = load(arguments.config)
    how = replace(
        given.config.inference,
        clip=str(peers.MODEL),
        runtime=arguments.runtime,
        precision=arguments.precision,
    )
    loaded = replace(given, config=replace(given.config, inference=how))
    before = os.getloadavg()
    peers.make_models(peers.SOURCE, peers.MODEL)
    with tempfile.TemporaryDirectory(prefix="clip-search-bench-") as folder:
        plan = Plan(loaded, arguments.rounds, arguments.open_loop_seconds, Path(folder))
        figures = measure(arguments.only, plan)
    settings = {
        "sections": arguments.only,
        "rounds": arguments.rounds,
        "concurrency": drivers.CONCURRENCY,
        "wrk_seconds": drivers.WRK_SECONDS,
        "open_loop_seconds": arguments.open_loop_seconds,
        "vectors": VECTORS,
        "load_average_before": before,
    }
    kind = "-".join(["bench", *(arguments.only if arguments.only != list(SECTIONS) else [])])
    print(f"\n{table(figures)}\n\n{write(kind, figures, settings, loaded.config)}")


if __name__ == "__main__":
    run(main)
