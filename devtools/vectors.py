"""The collection of the load test: vectors without images, and the recall of answers."""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from common.files import content_hash
from common.wire import Matrix
from inference.clip.model import Model
from prepare.chunks import Chunk, EmbeddingFolder, Row
from prepare.members import Member, write_members
from prepare.recall import ROUNDING

TOPICS = 1000
TOPICS_PER_IMAGE = 5
NOISE = 0.3  # of the vector's length
CHUNK = 10_000


def make_vectors(model: Model, texts: Iterator[str], count: int) -> Matrix:
    """`count` unit vectors in clusters, float32 [count, dim]; equal texts give equal vectors.

    Each vector is near a weighted mean of a few text embeddings. So the vectors lie near the
    queries, as embeddings of images do. In pure noise, a query would have no near neighbours.
    """
    return clustered(model.encode_text(list(itertools.islice(texts, TOPICS))), count)


def clustered(topics: Matrix, count: int) -> Matrix:
    """`count` unit vectors, each near a mean of a few topics, float32 [count, dim]."""
    random = np.random.default_rng(0)
    vectors = np.empty((count, topics.shape[1]), dtype=np.float32)
    for start in range(0, count, CHUNK):
        part = vectors[start : start + CHUNK]
        chosen = random.integers(0, len(topics), (len(part), TOPICS_PER_IMAGE))
        weights = random.dirichlet(np.full(TOPICS_PER_IMAGE, 0.5), len(part)).astype(np.float32)
        part[:] = unit(np.einsum("nt,ntd->nd", weights, topics[chosen]))
        part += NOISE * unit(random.standard_normal(part.shape, dtype=np.float32))
        part[:] = unit(part)
    return vectors


def unit(rows: Matrix) -> Matrix:
    """The rows, scaled to length 1."""
    made: Matrix = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    return made


def save_vectors(vectors: Matrix, model: Model, folder: Path) -> None:
    """Write an embedding folder in which vector i is the embedding of an image named i."""
    embeddings = EmbeddingFolder(folder)
    folder.mkdir(parents=True)
    members: list[Member] = []
    for chunk, start in enumerate(range(0, len(vectors), CHUNK), 1):
        part = vectors[start : start + CHUNK]
        rows = [_row(number) for number in range(start, start + len(part))]
        embeddings.write(chunk, Chunk(part, rows, []), model.name, model.space)
        members += [
            Member(row.path, row.size_bytes, row.mtime_ns, chunk, place, row.content)
            for place, row in enumerate(rows)
        ]
    write_members(embeddings, members)


def _row(number: int) -> Row:
    content = content_hash(number.to_bytes(8))
    return Row(f"images/{number:08}.jpg", 100_000, 0, content, content_hash(content.encode()))


def recall(vectors: Matrix, model: Model, answers: Mapping[str, Sequence[str]], k: int) -> float:
    """The share of the true k nearest images that the answers of the texts hold, on average."""
    shares = []
    for text, paths in answers.items():
        scores = vectors @ model.encode_text([text])[0]
        least = np.partition(scores, -k)[-k] - ROUNDING
        found = {int(Path(path).stem) for path in paths}
        shares.append(sum(scores[number] >= least for number in found) / k)
    return float(np.mean(shares)) if shares else float("nan")
