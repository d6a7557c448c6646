"""What a click on a picture costs with Segment Anything: python evaluation/click_cost.py FOLDER.

FOLDER has a model's `encoder.onnx` and `decoder.onnx`. Each photo is clicked on several times over
front; the CPU time is that of front, middle and inference. Prints a row of a Markdown table for the
first click on a photo, whose encoding is then kept, and one for the clicks that follow.
"""

import argparse
import statistics
import sys
import tempfile
import time
from pathlib import Path

if __name__ == "__main__" and __spec__ is None:
    sys.path[0] = str(Path(__file__).resolve().parent.parent)  # was evaluation/

from devtools.collection import Collection
from devtools.photos import photo
from devtools.process_tree import cpu_seconds
from devtools.services import Cluster, cluster, with_section

PHOTOS = 5
LONG_SIDE = 1600
CLICKS = ((0.5, 0.5), (0.3, 0.4), (0.7, 0.6), (0.4, 0.7), (0.6, 0.3))
Cost = tuple[float, float]


def click(services: Cluster, file: bytes, place: tuple[float, float]) -> tuple[str, Cost]:
    """Whether the encoding was kept, and the seconds that a click took: CPU and wall."""
    pids = [pid for name in ("front", "middle", "inference") for pid in services.pids[name]]
    fields = {"image": ("photo.jpg", file), "points": f"[[{place[0]}, {place[1]}, 1]]"}
    before, began = cpu_seconds(pids), time.perf_counter()
    reply = services.front.request("POST", "/v1/segment", fields=fields, timeout=60)
    took_s, cpu_s = time.perf_counter() - began, cpu_seconds(pids) - before
    if reply.status != 200:
        sys.exit(reply.data.decode())
    return reply.headers.get("X-Cache", "none"), (cpu_s, took_s)


def measure(sam: Path) -> dict[str, list[Cost]]:
    """The costs of clicks on photos, by whether the encoding was kept: first `miss`, then `hit`."""
    found: dict[str, list[Cost]] = {"miss": [], "hit": []}
    with tempfile.TemporaryDirectory() as folder:
        collection = Collection(Path(folder), images=4, shards=1)
        config = with_section(collection.config, "Inference", sam=str(sam.resolve()))
        config = with_section(config, "Middle", segment_deadline_ms=60_000)
        with cluster(config, 1, collection.folder) as services:
            warm = photo(PHOTOS, LONG_SIDE)
            while click(services, warm, CLICKS[0])[0] != "hit":
                time.sleep(0.1)  # middle does not know the model yet
            for number in range(PHOTOS):
                for place in CLICKS:
                    outcome, cost = click(services, photo(number, LONG_SIDE), place)
                    found[outcome].append(cost)
    return found


def main() -> None:
    """Print both rows."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="a model's folder")
    print("| click | CPU | wall |\n| --- | ---: | ---: |")
    for outcome, costs in measure(parser.parse_args().folder).items():
        cpu_s, wall_s = map(statistics.mean, zip(*costs, strict=True))
        name = {"miss": "first", "hit": "later"}[outcome]
        print(f"| {name} | {1000 * cpu_s:.0f} ms | {1000 * wall_s:.0f} ms |")


if __name__ == "__main__":
    main()
