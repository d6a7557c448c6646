"""The prediction cache when the servers behind die or change: nothing stale, nothing degraded."""

from pathlib import Path
from typing import Any

from devtools.collection import Collection
from devtools.services import cluster, wait_until, with_section
from search.image_key import parse_id, shard_of
from tests.cache_probe import ask, hits, outcome


def test_what_is_kept_answers_when_the_servers_are_gone(tmp_path: Path) -> None:
    """Without inference, cached queries and those by id; degraded answers are not kept."""
    collection = Collection(tmp_path, images=40, shards=2)
    config = with_section(collection.config, "Middle", deadline_ms=20_000)
    with cluster(config, 2, collection.folder) as services:
        middle = services.middle
        wait_until(lambda: "bypass" != outcome(ask(middle, text="the the")))
        whole = ask(middle, text="red", k=40)
        services.search[1].kill()

        assert ("hit", hits(whole)) == (
            outcome(kept := ask(middle, text="red", k=40)),
            hits(kept),
        )
        for _ in range(2):
            degraded = ask(middle, text="blue")
            assert degraded.json()["coverage"]["degraded"]
            assert "miss" == outcome(degraded)

        services.inference.kill()
        assert "hit" == outcome(ask(middle, text="red", k=40))
        assert 503 == ask(middle, text="green").status
        assert 503 == ask(middle, text="green").status
        ids = [hit["id"] for hit in whole.json()["hits"]]
        in_first = [one for one in ids if shard_of(parse_id(one)[0], 2) == 0]
        assert 200 == ask(middle, id=in_first[0]).status
        assert "miss" == outcome(ask(middle, text="red", k=7))  # by the kept embedding


def test_a_new_index_version_is_soon_seen(tmp_path: Path) -> None:
    """Once middle has noticed it, all answers are from it: no hit of an older one comes again."""
    collection = Collection(tmp_path, images=20, shards=1)
    config = with_section(collection.config, "Middle", deadline_ms=20_000)
    query: dict[str, Any] = {"text": "red", "k": 40}
    with cluster(config, 1, collection.folder) as services:
        middle = services.middle
        wait_until(lambda: "hit" == outcome(ask(middle, **query)))
        collection.write_images(range(20, 30))
        collection.prepare()
        wait_until(lambda: "v000002" == ask(middle, **query).json()["index_version"])
        wait_until(lambda: "hit" == outcome(ask(middle, **query)))
        for _ in range(20):
            reply = ask(middle, **query)
            assert (30, "v000002") == (len(hits(reply)), reply.json()["index_version"])
