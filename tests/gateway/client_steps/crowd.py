"""A client of a crowd: python -m tests.gateway.client_steps.crowd URL FIRST COUNT BATCH.

Embeds COUNT texts that nobody else embeds, then each of them again in another order: a crossed
or lost answer differs. Prints how many were equal.
"""

import itertools
import sys

import numpy as np
from clip_client import Client

from devtools.words import all_queries


def main() -> None:
    """Print the number of texts whose two embeddings are equal."""
    url, first, count, batch = sys.argv[1], *map(int, sys.argv[2:])
    texts = [*itertools.islice(all_queries(), first, first + count)]
    client = Client(url)
    once = client.encode(texts, batch_size=batch)
    again = client.encode(texts[::-1], batch_size=batch + 1)[::-1]
    print("EQUAL", int(np.isclose(once, again, atol=1e-5).all(axis=1).sum()))
    print("DIFFERENT", len(np.unique(np.round(once, 4), axis=0)))


if __name__ == "__main__":
    main()
