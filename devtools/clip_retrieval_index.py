"""An index of clip-retrieval, built by its own command."""

import json
import subprocess
from pathlib import Path

import numpy as np
import pyarrow as pa
from pyarrow import parquet

from common.wire import Matrix


def build_index(program: str, vectors: Matrix, home: Path) -> None:
    """Build the index `benchmark` of `vectors` [n, dim] in a folder.

    autofaiss chooses and tunes the kind of index. Raises RuntimeError.
    """
    for name in ("img_emb", "metadata"):
        (home / "embeddings" / name).mkdir(parents=True)
    np.save(home / "embeddings/img_emb/img_emb_0.npy", vectors)
    urls = pa.table({"url": [f"images/{row:08}.jpg" for row in range(len(vectors))]})
    parquet.write_table(urls, home / "embeddings/metadata/metadata_0.parquet")
    command = [program, "index", "--embeddings_folder=embeddings", "--index_folder=index"]
    done = subprocess.run(command, cwd=home, capture_output=True, text=True, check=False)
    if done.returncode or not (home / "index/image.index").is_file():
        raise RuntimeError(f"clip-retrieval index: {done.stdout[-1000:]}{done.stderr[-1000:]}")
    (home / "indices.json").write_text(json.dumps({"benchmark": "index"}))
