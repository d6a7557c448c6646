"""Search servers and shards may be changed in any order: what serves is full all the while."""

import re
from functools import partial
from pathlib import Path

from devtools.collection import Collection
from devtools.services import Service, cluster, wait_until, with_section

IMAGES = 40
CHOICE = (
    f"shards: 1, chosen for {IMAGES} images (Search.shards sets another number); "
    "the index in use has 2 and answers until the new one is built"
)


def shards(middle: Service) -> int:
    """The shards of the index that middle answers from, all of them."""
    query = {"text": "a red square", "k": IMAGES, "require_full": True}
    answer = middle.post("/search", query)
    assert len(answer["hits"]) == IMAGES
    return int(answer["coverage"]["shards"]["total"])


def answers_from(middle: Service, count: int) -> bool:
    return shards(middle) == count


def test_another_number_of_servers_serves_the_old_index_and_then_the_new(tmp_path: Path) -> None:
    """From two servers to one and back, as after an upgrade; prepare says so in one line."""
    collection = Collection(tmp_path, images=IMAGES, shards=2)
    for servers, before in ((1, 2), (2, 1)):
        listed = [f"127.0.0.1:{number}" for number in range(1, servers + 1)]
        config = with_section(collection.config, "Middle", cache="off")
        config = with_section(config, "Search", shards=None, server_list=listed, reload_s=0.2)
        collection.config = config
        with cluster(config, servers, tmp_path) as services:
            middle = services.middle
            assert shards(middle) == before
            told = collection.prepare()
            lines = re.findall("^shards: .*", told, re.MULTILINE)
            assert f"{IMAGES} images in {'1 shard' if servers == 1 else '2 shards'}, " in told
            assert lines == ([CHOICE] if servers == 1 else [])  # the way back is a version kept
            wait_until(partial(answers_from, middle, servers))
