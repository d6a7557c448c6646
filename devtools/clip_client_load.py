"""A load by clip-client: python -m devtools.clip_client_load URL BATCH SECONDS [PHOTO...].

Runs in the environment of clip-client. Embeds texts that are never the same, or the photos in turn,
BATCH in a request, with the client's own number of requests at once (100). Prints how many it
embedded and the seconds that this took. A first call for two requests tells how many fit into
SECONDS, as the client has no limit of time.
"""

import itertools
import json
import sys
import time

import numpy as np
from clip_client import Client

from devtools.words import all_queries


def main() -> None:
    """Print a JSON object: answers, seconds."""
    url, batch, seconds, *photos = sys.argv[1:]
    client, size = Client(url), int(batch)
    content = itertools.cycle(photos) if photos else all_queries()

    def embed(count: int) -> float:
        given = list(itertools.islice(content, count))
        began = time.perf_counter()
        rows = client.encode(given, batch_size=size)
        took_s = time.perf_counter() - began
        assert len(rows) == count, f"{len(rows)} of {count} are embedded"
        assert np.linalg.norm(rows, axis=1).min() > 0
        return took_s

    embed(size)  # warms up the model
    count = size * max(2, round(2 * float(seconds) / embed(2 * size)))
    print(json.dumps({"answers": count, "seconds": embed(count)}))


if __name__ == "__main__":
    main()
