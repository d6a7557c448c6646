"""What sections tell of runs that lack a part; tools import nothing of each other."""

import json
import subprocess
import sys
from pathlib import Path

from devtools.services import CHECKOUT

WITHOUT_A_SINGLE_SHARD = """
from benchmarks.scenarios.search import FAST, FLASK, HNSWLIB, LOOP, MIDDLE, ratios
from devtools.loads import Measured

names = [LOOP.format("text"), HNSWLIB.format(21), FLASK]
for servers in (1, 21):
    names += [MIDDLE.format(21, servers), MIDDLE.format(21, servers) + FAST]
runs = {name: [Measured(100, 1, 1, 1)] for name in names}
print(*(figure.name for figure in ratios(runs, 21)), sep="\\n")
del runs[LOOP.format("text")]
print(*(figure.name for figure in ratios(runs, 21)), sep="\\n")
"""
A_SECTION_THAT_FAILS = """
from benchmarks import bench
from benchmarks.report import Figure

def fails(_plan):
    raise RuntimeError("it fails")

bench.SECTIONS = {"first": lambda _plan: [Figure("first", "a", "ms", 5.0)], "second": fails}
bench.main()
"""


def said(code: str) -> list[str]:
    """The lines that some code prints in the checkout."""
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=CHECKOUT, capture_output=True, text=True, check=False
    )
    assert 0 == done.returncode, done.stderr
    return done.stdout.splitlines()


def test_a_ratio_without_its_parts_is_left_out() -> None:
    """As with `--shards 21`, which measures no single shard, and where the loop was left out."""
    ours, spread = (f"middle, 21 shards in {servers} servers" for servers in (1, 21))
    kept = [f"{spread} / {ours}", f"{spread}, fast", f"{ours}, fast"]
    limit = f"{ours} / (model + hnswlib + Flask)"

    assert [kept[0], limit, *kept[1:], *kept] == said(WITHOUT_A_SINGLE_SHARD)


def test_a_section_that_fails_costs_no_figure_of_those_before(tmp_path: Path) -> None:
    """They are printed and kept, by the names of the sections that ended; then comes the error."""
    options = ("--model", "starter", "--runtime", "onnxruntime", "--precision", "fp32")
    command = [sys.executable, "-c", A_SECTION_THAT_FAILS, *options, "--results", str(tmp_path)]
    done = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, check=False)

    assert (1, "RuntimeError: it fails") == (done.returncode, done.stderr.splitlines()[-1])
    assert "| a | 5 |" in done.stdout
    (kept,) = tmp_path.iterdir()
    assert kept.name.endswith("-first.json")
    assert [5.0] == [figure["value"] for figure in json.loads(kept.read_bytes())["results"]]
