"""The baseline that our figures stand beside."""

from pathlib import Path

import numpy as np

from benchmarks.baseline.contender import running_baseline
from devtools.vectors import make_vectors
from devtools.words import all_queries
from inference.clip.model import load_model

K = 10


def test_the_baseline_finds_what_exact_search_does(tmp_path: Path) -> None:
    """Through five shards, which HNSW searches whole at this size, the hits are the exact ones."""
    model = load_model("starter")
    texts = all_queries()
    vectors = make_vectors(model, texts, 300)

    with running_baseline(Path("inference/models/starter"), vectors, 5, tmp_path) as middle:
        for text in (next(texts), next(texts), "a cat"):
            hits = middle.post("/search", {"text": text, "k": K})["hits"]
            scores = vectors @ model.encode_text([text])[0]
            best = np.argsort(-scores)[:K]
            assert [f"images/{row:08}.jpg" for row in best] == [hit["path"] for hit in hits]
            np.testing.assert_allclose([hit["score"] for hit in hits], scores[best], atol=1e-5)
