"""What `--keep` keeps, and what is refused; tools import nothing of each other."""

import subprocess
import sys
from pathlib import Path

from devtools.services import CHECKOUT

KEPT = """
import sys
from pathlib import Path

import numpy as np

from evaluation.filtered_search import OurShards

root = Path(sys.argv[1])

def last_of(count):
    random = np.random.default_rng(count)
    vectors = random.normal(size=(count, 8)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    shards = OurShards(root, vectors, {"random": list(range(count))}, "hnsw")
    (hits,) = shards.search(vectors[-1:], 1, 64, None)
    return shards.rows(hits)

print(last_of(200), last_of(300), last_of(200))
for listed in root.glob("**/segments.json"):
    listed.unlink()
print(last_of(200))
"""


def python(*words: str) -> subprocess.CompletedProcess[str]:
    """Run Python in the checkout."""
    command = [sys.executable, *words]
    return subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, check=False)


def test_what_is_kept_is_of_as_many_images_and_whole(tmp_path: Path) -> None:
    """Another number has segments of its own; what an interrupted run left is built anew."""
    done = python("-c", KEPT, str(tmp_path))

    assert 0 == done.returncode, done.stderr
    assert ["{199} {299} {199}", "{199}"] == done.stdout.splitlines()


def test_a_batch_has_one_query_at_least_and_all_at_most() -> None:
    """Others are refused before anything is built."""
    for batch in ("0", "513"):
        done = python("evaluation/filtered_search.py", "--batch", "1", batch)

        assert 2 == done.returncode
        assert "--batch: from 1 to 512" in done.stderr
