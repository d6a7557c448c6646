"""Measure all sections, or some: python benchmarks/bench.py [--only SECTION,...].

All sections measure one model, ViT-B-32 with random weights. Contenders of a section take turns.
"""

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

if __package__ in (None, ""):  # run as a script: the checkout goes on the path, not this folder
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

from msgspec.structs import replace

from benchmarks import report
from benchmarks.plan import FOLDER, Plan
from benchmarks.report import Figure
from benchmarks.scenarios import gateway, inference, prepare, runtimes, search, systems
from common.config import CHECKOUT, load
from common.errors import ConfigError, MissingPackage
from common.process import argument_parser, run
from devtools import loads
from inference.clip.devices import count_gpus
from inference.clip.registry import find_model

SECTIONS: dict[str, Callable[[Plan], list[Figure]]] = {
    "search": search.measure,
    "open-loop": systems.measure_open_loop,
    "inference": inference.measure,
    "gateway": gateway.measure,
    "prepare": prepare.measure_embedding,
    "index": prepare.measure_index,
    "growth": systems.measure_growth,
    "workers": systems.measure_workers,
    "overload": systems.measure_overload,
    "slow-clients": systems.measure_slow_clients,
    "runtimes": runtimes.measure,
}
ARCHITECTURE = "ViT-B-32"


def parse_arguments() -> argparse.Namespace:
    """The command line."""
    parser = argument_parser(__doc__)
    add = parser.add_argument
    add("--only", metavar="SECTION,...", help=f"of {', '.join(SECTIONS)} (all)")
    add("--model", metavar="NAME", help="or folder (default: one with random weights)")
    add("--architecture", metavar="NAME", default=ARCHITECTURE, help="of the random model")
    add("--runtime", default="openvino", help="of the model (openvino)")
    add("--precision", default="bf16", help="of the model (bf16)")
    add("--rounds", type=int, default=2, metavar="N", help="medians are of N rounds (2)")
    add("--seconds", type=float, default=8, metavar="S", help="of a load; some take longer (8)")
    add("--idle-s", type=float, default=20, metavar="S", help="for idle cores, at most (20)")
    add("--vectors", type=int, default=100_000, metavar="N", help="of the collection (100000)")
    add("--shards", type=int, nargs="+", default=[1, 21], metavar="N", help="of it (1 21)")
    add("--workers", type=int, nargs="+", default=[4, 12, 24], metavar="N", help="(4 12 24)")
    add("--device", choices=tuple(runtimes.RUNTIMES), default="cpu", help="of runtimes (cpu)")
    add("--runtimes", nargs="+", metavar="NAME:PRECISION", help="(those of the device)")
    add("--batches", type=int, nargs="+", metavar="N", help="of runtimes (1 8 32, texts 1 8 64)")
    add("--beside", type=Path, metavar="CHECKOUT", help="of another commit, for `search`")
    add("--results", type=Path, metavar="FOLDER", help="(benchmarks/results for all sections)")
    arguments = parser.parse_args()
    arguments.only = arguments.only.split(",") if arguments.only else list(SECTIONS)
    if unknown := set(arguments.only) - set(SECTIONS):
        parser.error(f"no such section: {', '.join(sorted(unknown))}")
    counts = *arguments.shards, *arguments.workers, *(arguments.batches or ())
    if min(arguments.rounds, arguments.vectors, *counts) < 1 or arguments.seconds <= 0:
        parser.error("every number is 1 at least, and --seconds more than 0")
    return arguments


def make_plan(arguments: argparse.Namespace, folder: Path) -> Plan:
    """The plan from the command line and the configuration; raises ConfigError."""
    given, weights = load(arguments.config), None
    model = arguments.model or given.config.inference.clip
    if not arguments.model:
        try:
            from devtools.random_model import random_model

            precisions = ["int8", "fp16"] if count_gpus() else ["int8"]
            model, weights = random_model(arguments.architecture, given.path(FOLDER), precisions)
        except MissingPackage as error:
            print(f"left out: {arguments.architecture}, for {model}: {error}", flush=True)
    find_model(model, given.root)  # fail before minutes of work
    changes = {"clip": model, "runtime": arguments.runtime, "precision": arguments.precision}
    inference = replace(given.config.inference.of("clip"), **changes)
    same = ("rounds", "seconds", "idle_s", "vectors", "workers", "batches", "device", "beside")
    return Plan(
        **{name: getattr(arguments, name) for name in same},
        loaded=replace(given, config=replace(given.config, inference=inference)),
        configured=given.config.inference.clip,
        weights=weights if arguments.architecture == ARCHITECTURE else None,
        shards=tuple(sorted(arguments.shards)),
        runtimes=arguments.runtimes or runtimes.RUNTIMES[arguments.device],
        folder=folder,
    )


def main() -> None:
    """Measure, print the tables and write the result file."""
    arguments, before = parse_arguments(), os.getloadavg()
    loads.require_programs()
    figures: list[Figure] = []
    ended: list[str] = []
    with tempfile.TemporaryDirectory(prefix="clip-search-bench-") as folder:
        plan = make_plan(arguments, Path(folder).resolve())
        try:
            for name in arguments.only:
                began = time.monotonic()
                print(f"== {name}", flush=True)
                try:
                    figures += SECTIONS[name](plan)
                except ConfigError as error:
                    print(f"left out: {name}: {error}", flush=True)
                print(f"   took {time.monotonic() - began:.0f} s", flush=True)
                ended.append(name)
        finally:  # a section that fails costs no figure of those before
            settings = {**vars(arguments), "clients": loads.CLIENTS, "load_average_before": before}
            kind, results = "-".join(ended) or "nothing", plan.loaded.path(FOLDER) / "results"
            if ended == list(SECTIONS):  # only files of whole runs are kept in git
                kind, results = "bench", CHECKOUT / "benchmarks/results"
            results = arguments.results or results
            path = report.write(kind, figures, settings, plan.loaded.config, results)
            print(f"\n{report.tables(figures)}\n\n{path}")


if __name__ == "__main__":
    run(main)
