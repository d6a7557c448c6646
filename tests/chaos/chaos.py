"""Everything that can go wrong, for long: python tests/chaos/chaos.py [--minutes 10]."""

import argparse
import sys
import tempfile
from pathlib import Path

if __package__ in (None, ""):  # run as a script: the checkout goes on the path, not this folder
    sys.path[0] = str(Path(__file__).resolve().parent.parent.parent)

from common.process import run
from devtools.collection import Collection
from devtools.oracle import Outcomes
from devtools.replica_cluster import Replicated, replicated
from tests.chaos import rows
from tests.chaos.damage import flips
from tests.chaos.kills import kills
from tests.chaos.soak import DEADLINE_MS, rolling_restarts, soak
from tests.chaos.swaps import swaps

RATE = 50.0
EACH_S = 8.0
ROUNDS, SWAPS, FLIPS, KILLS = 20, 30, 200, 100
PARTS = ("rows", "soak", "restarts", "swaps", "flips", "kills")


def report(name: str, outcomes: Outcomes, note: str = "") -> int:
    """Print what became of the queries; how many of them were wrong."""
    p50, p99 = outcomes.percentile_ms(0.5), outcomes.percentile_ms(0.99)
    most = max(outcomes.latencies_ms, default=0.0)
    print(
        f"{name}: {outcomes.counts.total()} queries, {dict(outcomes.counts)}, p50 {p50:.0f} ms, "
        f"p99 {p99:.0f} ms, at most {most:.0f} ms, {len(outcomes.late)} later than the deadline "
        f"and 100 ms, problems {dict(outcomes.codes)}{note}",
        flush=True,
    )
    for wrong in outcomes.wrong[:10]:
        print(f"  wrong: {wrong}")
    return len(outcomes.wrong)


def run_services(services: Replicated, parts: list[str], minutes: float, seed: int) -> int:
    """What befalls replicas under load; how many answers were wrong."""
    wrong = 0
    if "rows" in parts:
        for name, outcomes, most in rows.measure(services, EACH_S, RATE):
            wrong += report(f"row {name}", outcomes, f", {most:.0f} in flight at most")
    if "soak" in parts:
        soaked = soak(services, 60 * minutes, RATE, seed)
        wrong += report("soak", soaked.outcomes)
        print(f"  faults {dict(soaked.faults)}")
        print(f"  memory {soaked.memory}, descriptors {soaked.descriptors}", flush=True)
    if "restarts" in parts:
        wrong += report("rolling restarts", rolling_restarts(services, ROUNDS, RATE))
    return wrong


def main() -> None:
    """Run it all; the exit status is 1 when an answer was wrong."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=10, help="of the soak")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", default=",".join(PARTS), help="some of the parts")
    arguments = parser.parse_args()
    parts = arguments.only.split(",")
    with tempfile.TemporaryDirectory(prefix="clip-search-chaos-") as folder:
        root, seed = Path(folder), arguments.seed
        wrong = 0
        if {"rows", "soak", "restarts"} & set(parts):
            collection = Collection(_new(root / "replicas"), images=400, shards=2)
            with replicated(collection, 2, 2, deadline_ms=DEADLINE_MS) as services:
                wrong = run_services(services, parts, arguments.minutes, seed)
        if "swaps" in parts:  # this and what follows stops at the first thing wrong
            print(f"{SWAPS} swaps: {swaps(_new(root / 'swaps'), SWAPS, seed)} answers, all right")
        if "flips" in parts:
            print(f"{FLIPS} flips: {len(flips(_new(root / 'flips'), FLIPS, seed))} refused")
        if "kills" in parts:
            print(
                f"{KILLS} kills: {kills(_new(root / 'kills'), KILLS, seed)} whole runs, all equal"
            )
    print(f"{wrong} wrong answers")
    sys.exit(1 if wrong else 0)


def _new(folder: Path) -> Path:
    folder.mkdir()
    return folder


if __name__ == "__main__":
    run(main)
