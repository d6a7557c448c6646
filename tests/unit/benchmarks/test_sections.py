"""What sections tell of runs that lack a part; tools import nothing of each other."""

import subprocess
import sys

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
