"""A search server that answers nonsense: it is discarded and counted, never merged."""

from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import numpy as np
import pytest

from devtools.collection import Collection
from devtools.services import Cluster, cluster, running, with_section
from search.image_key import parse_id, shard_of
from search.messages import Hits, SearchReply, ShardHits
from tests.lying_server import tampering

replace = msgspec.structs.replace


@pytest.fixture(scope="module")
def collection(tmp_path_factory: pytest.TempPathFactory) -> Collection:
    """40 images in two shards."""
    return Collection(tmp_path_factory.mktemp("collection"), images=40, shards=2)


@pytest.fixture(scope="module")
def services(collection: Collection) -> Iterator[Cluster]:
    """One server a shard."""
    with cluster(collection.config, 2, collection.folder) as services:
        yield services


def in_hits(change: Callable[[Hits], Hits]) -> Callable[[SearchReply], SearchReply]:
    """What changes the hits of each query."""

    def tamper(reply: SearchReply) -> SearchReply:
        shards = [ShardHits(one.shard, [change(hits) for hits in one.hits]) for one in reply.shards]
        return replace(reply, shards=shards)

    return tamper


def scores(hits: Hits, *values: float) -> Hits:
    rest = np.frombuffer(hits.scores, "<f4")[len(values) :]
    return replace(hits, scores=np.array(values, "<f4").tobytes() + rest.tobytes())


def once_more(hits: Hits) -> Hits:
    """One more row than was asked for, the last one again."""
    return Hits(
        hits.scores + hits.scores[-4:],
        hits.keys + hits.keys[-24:],
        [*hits.records, hits.records[-1]],
    )


LIES: dict[str, Callable[[SearchReply], SearchReply | bytes]] = {
    "no msgpack": lambda reply: b"\xc1 nonsense",
    "NaN": in_hits(lambda hits: scores(hits, float("nan"))),
    "infinity": in_hits(lambda hits: scores(hits, float("inf"))),
    "no cosine": in_hits(lambda hits: scores(hits, 2.0)),
    "not sorted": in_hits(lambda hits: scores(hits, -0.9)),
    "k+1 rows": in_hits(once_more),
    "half a column": in_hits(lambda hits: replace(hits, keys=hits.keys[:-8])),
    "no record": in_hits(
        lambda hits: replace(hits, records=[msgspec.Raw(b"\x01") for _ in hits.records])
    ),
    "other shard": lambda reply: replace(
        reply, shards=[replace(one, shard=1 - one.shard) for one in reply.shards]
    ),
    "no such shard": lambda reply: replace(
        reply, shards=[replace(one, shard=7) for one in reply.shards]
    ),
    "a shard twice": lambda reply: replace(reply, shards=reply.shards * 2),
    "too few queries": lambda reply: replace(
        reply, shards=[replace(one, hits=one.hits[:-1]) for one in reply.shards]
    ),
    "other version": lambda reply: replace(reply, version="v999999"),
    "other count": lambda reply: replace(reply, shard_count=3),
}


@pytest.mark.parametrize("lie", LIES.values(), ids=LIES)
def test_what_cannot_be_is_discarded(
    services: Cluster, collection: Collection, lie: Callable[[SearchReply], SearchReply | bytes]
) -> None:
    """Row 8: the answer is of the other shard alone and says so."""
    honest = services.search[1].address
    with tampering(services.search[0], lie) as liar:
        config = with_section(services.config, "Search", server_list=[liar, honest])
        config = with_section(config, "Middle", port=0)
        with running("middle/middle.py", config, cwd=collection.folder) as middle:
            answer = middle.post("/search", {"text": "red", "k": 9})
            counted = middle.request("GET", "/metrics").data.decode()

    assert answer["coverage"]["degraded"]
    assert {"total": 2, "ok": 1, "timeout": 0, "failed": 1} == answer["coverage"]["shards"]
    shards = {shard_of(parse_id(hit["id"])[0], 2) for hit in answer["hits"]}
    # of two servers that name different versions, neither is known to be the one that errs
    assert shards == {1} or (len(shards), answer["index_version"]) == (1, "v999999")
    assert 'clip_search_replica_replies_total{outcome="' in counted


def test_who_names_another_space_is_not_searched(services: Cluster, collection: Collection) -> None:
    """Of two that disagree about the model nobody knows which is right: degraded, or refused."""
    honest = services.search[1].address
    with tampering(services.search[0], lambda reply: replace(reply, space="another")) as liar:
        config = with_section(services.config, "Search", server_list=[liar, honest])
        config = with_section(config, "Middle", port=0)
        with running("middle/middle.py", config, cwd=collection.folder) as middle:
            reply = middle.request("POST", "/search", json={"text": "red"})

    if reply.status == 200:
        assert reply.json()["coverage"]["degraded"]
    else:
        assert (503, "model_mismatch") == (reply.status, reply.json()["code"])


def test_the_twin_of_a_liar_answers(services: Cluster, collection: Collection) -> None:
    """With a replica that tells the truth nothing is lost."""
    with tampering(services.search[0], LIES["NaN"]) as liar:
        listed = [[liar, services.search[0].address], services.search[1].address]
        config = with_section(services.config, "Search", server_list=listed)
        config = with_section(config, "Middle", port=0)
        with running("middle/middle.py", config, cwd=collection.folder) as middle:
            answers = [middle.post("/search", {"text": "red", "k": n + 1}) for n in range(20)]

    assert not any(answer["coverage"]["degraded"] for answer in answers)


def test_the_truth_is_taken(services: Cluster, collection: Collection, tmp_path: Path) -> None:
    """The same way without a lie: a full answer."""
    with tampering(services.search[0], lambda reply: reply) as same:
        config = with_section(
            services.config, "Search", server_list=[same, services.search[1].address]
        )
        config = with_section(config, "Middle", port=0)
        with running("middle/middle.py", config, cwd=collection.folder) as middle:
            assert not middle.post("/search", {"text": "red"})["coverage"]["degraded"]
