"""Everything that can go wrong, for long: python tests/chaos/chaos.py [--minutes 10]."""

import argparse
import sys
import tempfile
from pathlib import Path

if __package__ in (None, ""):  # run as a script: the checkout goes on the path, not this folder
    sys.path[0] = str(Path(__file__).resolve().parent.parent.parent)

from common.process import run
from tests.chaos.soak import DEADLINE_MS, rolling_restarts, soak
from tests.checking import Outcomes
from tests.collection import Collection
from tests.replicated import replicated

RATE = 50.0
ROUNDS = 20


def report(name: str, outcomes: Outcomes) -> int:
    """Print what became of the queries; how many of them were wrong."""
    p50, p99 = outcomes.percentile_ms(0.5), outcomes.percentile_ms(0.99)
    print(
        f"{name}: {outcomes.counts.total()} queries, {dict(outcomes.counts)}, p50 {p50:.0f} ms, "
        f"p99 {p99:.0f} ms, {len(outcomes.late)} later than the deadline and 100 ms, "
        f"problems {dict(outcomes.codes)}",
        flush=True,
    )
    for wrong in outcomes.wrong[:10]:
        print(f"  wrong: {wrong}")
    return len(outcomes.wrong)


def main() -> None:
    """Run it all; the exit status is 1 when an answer was wrong."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=10, help="of the soak")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="clip-search-chaos-") as folder:
        collection = Collection(Path(folder), images=400, shards=2)
        with replicated(collection, 2, 2, deadline_ms=DEADLINE_MS) as services:
            soaked = soak(services, 60 * arguments.minutes, RATE, arguments.seed)
            wrong = report("soak", soaked.outcomes)
            print(f"  faults {dict(soaked.faults)}")
            print(f"  memory {soaked.memory}, descriptors {soaked.descriptors}", flush=True)
            wrong += report("rolling restarts", rolling_restarts(services, ROUNDS, RATE))
    print(f"{wrong} wrong answers")
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    run(main)
